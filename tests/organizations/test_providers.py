"""Providers: who may add which address, where a key may go, what is offered, and a real test."""

import re
import socket
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from unittest.mock import Mock

import pytest
from django.apps import apps
from django.core.signals import got_request_exception
from django.test import Client
from django.views.debug import ExceptionReporter

from completions.listing import ListedModel
from completions.weights import MODEL_ALIAS
from organizations.models import Audience, Provider, ProviderModel, Role, User
from organizations.models.provider import MOST_MODELS
from organizations.presets import PRESETS
from organizations.setup import set_up
from tests.conftest import Cast
from tests.organizations.test_secrets import KEY, stored
from tests.upstream import Answer, Upstream

pytestmark = pytest.mark.django_db

SignIn = Callable[[User], Client]
LIST, NEW = "/settings/providers/", "/settings/providers/new/"
URL = "https://models.example.org/v1"
HOSTS = {
    "models.example.org": "93.184.215.14",
    "other.example.org": "93.184.215.15",
    "inside.example.org": "10.0.0.5",
    "metadata.example.org": "169.254.169.254",
}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names mean what HOSTS says, and numbers themselves."""
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name.endswith(".example.org") and name not in HOSTS:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real(HOSTS.get(name, host), port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.fixture
def admin(cast: Cast, sign_in: SignIn) -> Client:
    """Alice: admin of her organization, and no more than that."""
    return sign_in(cast.alice)


@pytest.fixture
def operator(cast: Cast, sign_in: SignIn) -> Client:
    """Alice, who also runs the site."""
    cast.alice.is_superuser = True
    cast.alice.save()
    return sign_in(cast.alice)


def fields(**changes: Any) -> dict[str, Any]:
    known = {"name": "Gateway", "base_url": URL, "auth": "bearer", "key": KEY, "enabled": "on"}
    return {name: value for name, value in (known | changes).items() if value is not None}


def add(client: Client, **changes: Any) -> Provider:
    response = client.post(NEW, fields(**changes))
    assert response.status_code == 302, response.context["form"].errors
    return Provider.objects.latest("id")


def edit(client: Client, provider: Provider, **changes: Any) -> Any:
    """Change it, with the key left empty unless it is among the changes."""
    same = {"base_url": provider.base_url, "auth": provider.auth, "key": ""}
    return client.post(page_of(provider), fields(**same | changes))


def page_of(provider: Provider, *more: str) -> str:
    return "/".join([f"{LIST}{provider.pk}", *more]) + "/"


def text_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def plain(html: str) -> str:
    """The words, without elements."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


def errors(response: Any) -> dict[str, str]:
    assert response.status_code == 422
    return {name: str(texts[0]) for name, texts in response.context["form"].errors.items()}


# Adding one.


def test_the_presets_are_those_that_people_expect() -> None:
    assert [(preset.name, preset.base_url, preset.auth) for preset in PRESETS[:-1]] == [
        (
            "Kodexa AI gateway",
            "https://platform.kodexa.ai/api/organizations/ORGANIZATION_ID/ai",
            "x-api-key",
        ),
        ("OpenAI", "https://api.openai.com/v1", "bearer"),
        ("OpenRouter", "https://openrouter.ai/api/v1", "bearer"),
        ("vLLM", "http://localhost:8000/v1", "bearer"),
        ("Ollama", "http://localhost:11434/v1", "none"),
        ("LiteLLM", "http://localhost:4000/v1", "bearer"),
        ("llama.cpp", "http://localhost:8080/v1", "none"),
    ]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.id)
def test_a_preset_fills_the_form(admin: Client, preset: Any) -> None:
    form = admin.get(f"{NEW}?preset={preset.id}").context["form"]
    assert (form["base_url"].value() or "") == preset.base_url
    assert form["auth"].value() == preset.auth
    assert bool(form["prefill"].value()) is preset.prefill


@pytest.mark.parametrize(("preset", "ticked"), [("ollama", True), ("openai", False)])
def test_a_preset_of_ones_own_network_says_so(operator: Client, preset: str, ticked: bool) -> None:
    form = operator.get(f"{NEW}?preset={preset}").context["form"]
    assert form["is_private"].value() is ticked


def test_members_are_told_whom_the_page_is_for(sign_in: SignIn, cast: Cast) -> None:
    response = sign_in(cast.bob).get(NEW)
    assert response.status_code == 403
    assert "Only admins of your organization can open this page." in response.content.decode()


def test_an_unknown_preset_is_an_empty_form(admin: Client) -> None:
    assert not admin.get(f"{NEW}?preset=%00nothing").context["form"]["base_url"].value()


def test_what_was_added_is_listed_with_the_end_of_its_key(admin: Client, cast: Cast) -> None:
    provider = add(admin, base_url=f"{URL}/", prefill="on")
    assert provider.organization == cast.organization
    assert (provider.base_url, provider.prefill, provider.enabled) == (URL, True, True)
    assert (provider.key(), provider.allows_private) == (KEY, False)
    assert provider.created_by == cast.alice
    assert "models.example.org · 0 models · Key …9Q2w" in plain(text_of(admin, LIST))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("", "required", id="empty"),
        pytest.param("models.example.org/v1", "begins with", id="no scheme"),
        pytest.param("ftp://models.example.org/", "begins with", id="another scheme"),
        pytest.param("https:///v1", "begins with", id="no host"),
        pytest.param("https://models.example.org:0/", "begins with", id="port 0"),
        pytest.param("https://models.example.org:x/", "begins with", id="no port"),
        pytest.param("https://[::1/v1", "begins with", id="half a bracket"),
        pytest.param("https://models.example.org\\@inside.example.org", "begins", id="backslash"),
        pytest.param("https://models.example.org/a b", "begins with", id="space"),
        pytest.param("https://me:secret@models.example.org/", "no name", id="userinfo"),
        pytest.param("https://models.example.org/v1#a", "no “#”", id="fragment"),
        pytest.param(f"{URL}?api_key=abc", "own field", id="key in the query"),
        pytest.param("https://models.example.org/ORGANIZATION_ID/ai", "your org", id="placeholder"),
        pytest.param("https://" + "x" * 500, "at most 500", id="long"),
        pytest.param("https://nowhere.example.org/", "no public address", id="no such host"),
    ],
)
def test_an_address_that_is_none_is_refused(admin: Client, url: str, words: str) -> None:
    assert words in errors(admin.post(NEW, fields(base_url=url)))["base_url"]
    assert not Provider.objects.exists()


@pytest.mark.parametrize("key", ["a b", "schlüssel", "a\nb"])
def test_a_key_that_is_none_is_refused_and_not_repeated(admin: Client, key: str) -> None:
    response = admin.post(NEW, fields(key=key))
    assert "no key can have" in errors(response)["key"]
    assert key not in response.content.decode()


def test_a_key_that_is_not_sent_is_not_taken(admin: Client) -> None:
    assert "how the key is sent" in errors(admin.post(NEW, fields(auth="none")))["key"]
    assert not add(admin, auth="none", key="").has_key


def test_a_key_is_not_repeated_where_something_else_is_wrong(admin: Client) -> None:
    response = admin.post(NEW, fields(name=""))
    assert list(errors(response)) == ["name"]
    assert KEY not in response.content.decode()


def test_a_name_is_there_once_in_an_organization(
    admin: Client, cast: Cast, sign_in: SignIn
) -> None:
    add(admin)
    assert "name" in errors(admin.post(NEW, fields()))
    add(sign_in(cast.mallory))


# Which addresses, and for whom.

PRIVATE = [
    "http://127.0.0.1:8080/v1",
    "http://localhost:11434/v1",
    "http://[::1]/v1",
    "http://[::ffff:10.0.0.1]/v1",
    "http://2130706433/v1",
    "http://0x7f.1/v1",
    "http://192.168.1.10/v1",
    "http://inside.example.org/v1",
]
NEVER = ["http://169.254.169.254/latest", "http://metadata.example.org/", "http://0.0.0.0/"]


@pytest.mark.parametrize("url", PRIVATE + NEVER)
def test_an_admin_can_not_reach_inside(admin: Client, url: str) -> None:
    for ticked in (None, "on"):
        assert (
            "no public address"
            in errors(admin.post(NEW, fields(base_url=url, is_private=ticked)))["base_url"]
        )
    assert "is_private" not in admin.get(NEW).context["form"].fields
    assert not Provider.objects.exists()


@pytest.mark.parametrize("url", PRIVATE)
def test_who_runs_the_site_can_and_has_to_say_so(operator: Client, url: str) -> None:
    wrong = errors(operator.post(NEW, fields(base_url=url)))
    assert "tick the box" in wrong["base_url"]
    provider = add(operator, base_url=url, is_private="on")
    assert provider.allows_private
    assert provider.endpoint().allow_private


@pytest.mark.parametrize("url", NEVER)
def test_some_addresses_are_nobodys(operator: Client, url: str) -> None:
    wrong = errors(operator.post(NEW, fields(base_url=url, is_private="on")))
    assert "No provider" in wrong["base_url"]


def test_a_public_provider_is_asked_at_public_addresses_only(admin: Client) -> None:
    assert not add(admin).endpoint().allow_private


def test_an_admins_new_address_is_checked_and_not_private_any_more(
    cast: Cast, operator: Client, sign_in: SignIn
) -> None:
    provider = add(operator, base_url="http://inside.example.org/v1", is_private="on")
    cast.membership(cast.bob).change_role(Role.ADMIN)
    bob = sign_in(cast.bob)

    assert edit(bob, provider, name="Renamed").status_code == 302
    assert (stored(provider).name, stored(provider).allows_private) == ("Renamed", True)
    wrong = errors(edit(bob, provider, base_url="http://inside.example.org/v2"))
    assert "no public address" in wrong["base_url"]
    assert edit(bob, provider, base_url=URL, key="another").status_code == 302
    assert (stored(provider).base_url, stored(provider).allows_private) == (URL, False)


# Where the key goes.


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://other.example.org/v1", id="host"),
        pytest.param("http://models.example.org/v1", id="scheme"),
        pytest.param("https://models.example.org:8443/v1", id="port"),
    ],
)
def test_a_stored_key_does_not_follow_to_another_host(admin: Client, url: str) -> None:
    provider = add(admin)
    response = edit(admin, provider, base_url=url)
    assert "Enter the key again" in errors(response)["key"]
    assert stored(provider).base_url == URL

    # Nor by way of a style that sends none, to be changed back later.
    assert edit(admin, provider, base_url=url, auth="none").status_code == 302
    assert (stored(provider).base_url, stored(provider).has_key) == (url, False)
    edit(admin, stored(provider), auth="bearer")
    assert stored(provider).key() == ""


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        pytest.param({"name": "Another"}, KEY, id="name"),
        pytest.param({"base_url": "https://MODELS.example.org:443/v2"}, KEY, id="same host"),
        pytest.param({"key": "a-new-key-for-it"}, "a-new-key-for-it", id="new key"),
        pytest.param({"remove_key": "on"}, "", id="removed"),
        pytest.param({"auth": "none"}, "", id="none is sent"),
        pytest.param(
            {"base_url": "https://other.example.org", "remove_key": "on"}, "", id="moved without"
        ),
        pytest.param(
            {"base_url": "https://other.example.org", "key": "theirs"}, "theirs", id="moved with"
        ),
    ],
)
def test_what_becomes_of_the_key(admin: Client, changes: dict[str, Any], key: str) -> None:
    provider = add(admin)
    assert edit(admin, provider, **changes).status_code == 302
    assert stored(provider).key() == key


def test_a_lost_key_is_told_and_entered_again(admin: Client, settings: Any) -> None:
    provider = add(admin)
    provider.add_models([ListedModel("a-model")])
    for unreadable in (provider.encrypted_key[:-8], "nonsense", "ünïcode"):
        Provider.objects.update(encrypted_key=unreadable)
        assert "Key lost" in text_of(admin, LIST)
        words = "The key can&#x27;t be read any more: enter it again."
        assert words in text_of(admin, page_of(provider))
        for action in ("fetch", "test"):
            assert words in admin.post(page_of(provider, action)).content.decode()
    assert edit(admin, provider, key=KEY).status_code == 302
    assert stored(provider).key() == KEY
    assert "Key lost" not in text_of(admin, LIST)


def test_no_page_shows_the_key(admin: Client, cast: Cast, upstream: Upstream) -> None:
    """Every settings page, also the answers that quote what the provider was sent."""
    cast.alice.is_superuser = True
    cast.alice.save()
    provider = add(admin, base_url=upstream.url, is_private="on")
    provider.add_models([ListedModel("test-model")])
    model = provider.models.get()
    upstream.default = Answer(status=400, body={"error": {"message": f"Bad key {KEY}!"}})
    seen = ["/settings/account/"]
    pages: list[str] = []
    while seen and len(pages) < 100:
        address = seen.pop()
        response = admin.get(address, follow=True)
        pages.append(address)
        links = re.findall(r'href="(/settings/[^"#]*)', response.content.decode())
        seen += [link for link in set(links) if link not in pages and link not in seen]
        assert KEY not in response.content.decode(), address
    assert {LIST, NEW, page_of(provider), page_of(provider, "models", str(model.pk))} <= set(pages)
    for action in ("fetch", "test"):
        assert KEY not in admin.post(page_of(provider, action)).content.decode()
    quoted = admin.post(page_of(provider, "test")).content.decode()
    assert "Bad key [key]!" in quoted
    for wrong in ({"name": ""}, {"base_url": "http://10.0.0.1"}):
        assert KEY not in edit(admin, provider, key=KEY, **wrong).content.decode()


# Models.


@pytest.fixture
def reachable(operator: Client, upstream: Upstream) -> Provider:
    """A provider that is the scripted upstream."""
    return add(operator, base_url=upstream.url, is_private="on")


def fetch(client: Client, provider: Provider) -> Any:
    return client.post(page_of(provider, "fetch"))


def test_models_are_fetched_and_chosen(
    operator: Client, reachable: Provider, upstream: Upstream
) -> None:
    upstream.models = ["small", "large/2"]
    listed = fetch(operator, reachable).context["listed"]
    assert [each["model"].id for each in listed] == ["small", "large/2"]
    response = operator.post(page_of(reachable, "models"), {"listed": [listed[1]["value"]]})
    assert response.status_code == 302
    model = reachable.models.get()
    assert (model.name, model.public_id, model.label) == ("large/2", "large/2", "")
    assert [each["is_there"] for each in fetch(operator, reachable).context["listed"]] == [
        False,
        True,
    ]


def test_a_provider_that_can_not_be_listed_is_explained(
    operator: Client, reachable: Provider, upstream: Upstream
) -> None:
    upstream.close()
    page = fetch(operator, reachable).content.decode()
    assert "could not be reached" in page
    assert "type their names" in page.lower()


def test_models_are_typed(admin: Client) -> None:
    provider = add(admin)
    typed = "  one \r\n\r\ntwo/three\none\n"
    assert admin.post(page_of(provider, "models"), {"typed": typed}).status_code == 302
    names = provider.models.order_by("id").values_list("name", flat=True)
    assert list(names) == ["one", "two/three"]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"typed": " \n "}, id="blank"),
        pytest.param({"typed": "x" * 151}, id="long"),
        pytest.param({"typed": "a\tb"}, id="tab"),
        pytest.param({"typed": "\n".join(map(str, range(101)))}, id="many"),
        pytest.param({"listed": ["{"]}, id="no JSON"),
        pytest.param({"listed": ['{"id": 5}']}, id="no name"),
        pytest.param({"listed": ['{"id": "a", "label": "\\u0000"}']}, id="NUL"),
        pytest.param({"listed": ['{"id": "a", "context_tokens": 1e30}']}, id="huge"),
        pytest.param({"listed": ['{"id": "a", "context_tokens": -1}']}, id="negative"),
    ],
)
def test_models_that_are_none_are_refused(admin: Client, form: dict[str, Any]) -> None:
    provider = add(admin)
    response = admin.post(page_of(provider, "models"), form)
    assert response.status_code == 422
    assert response.context["new_models_form"].errors["typed"]
    assert not provider.models.exists()


def test_a_provider_has_a_most_of_models(admin: Client) -> None:
    provider = add(admin)
    provider.add_models(ListedModel(str(number)) for number in range(MOST_MODELS))
    response = admin.post(page_of(provider, "models"), {"typed": "one more"})
    assert str(MOST_MODELS) in response.context["new_models_form"].errors["typed"][0]


def test_ids_are_unique_in_the_organization_and_stay(
    admin: Client, cast: Cast, sign_in: SignIn
) -> None:
    first, second = add(admin, name="First"), add(admin, name="Ünder Wörld")
    third, elsewhere = add(admin, name="第三"), add(sign_in(cast.mallory))
    names = ["gpt", "test-model", MODEL_ALIAS]  # the second from the environment
    for provider in (first, second, third, elsewhere):
        provider.add_models(map(ListedModel, names))

    def ids(provider: Provider) -> list[str]:
        return list(provider.models.order_by("id").values_list("public_id", flat=True))

    assert ids(first) == ["gpt", "first/test-model", f"first/{MODEL_ALIAS}"]
    assert ids(second) == [f"under-world/{name}" for name in names]
    assert ids(third) == [f"provider/{name}" for name in names]
    assert ids(elsewhere) == ["gpt", "gateway/test-model", f"gateway/{MODEL_ALIAS}"]

    edit(admin, second, name="Renamed")
    model = second.models.earliest("id")
    save_model(admin, model, label="GPT")
    assert ids(second) == [f"under-world/{name}" for name in names]
    # Two that come out the same are told apart by a number.
    fourth = add(admin, name="Under World!")
    fourth.add_models(map(ListedModel, names))
    assert ids(fourth) == [f"under-world-2/{name}" for name in names]


def save_model(client: Client, model: ProviderModel, **changes: Any) -> Any:
    known = {"context_tokens": "8192", "audience": "everyone", "enabled": "on"}
    address = f"{LIST}{model.provider_id}/models/{model.pk}/"
    form = {name: value for name, value in (known | changes).items() if value is not None}
    return client.post(address, form)


@pytest.fixture
def model(admin: Client) -> ProviderModel:
    provider = add(admin)
    provider.add_models([ListedModel("a-model", context_tokens=4096)])
    return provider.models.get()


def test_a_model_is_described(admin: Client, model: ProviderModel) -> None:
    assert model.context_tokens == 4096
    described = {
        "label": "The good one",
        "temperature": "0.3",
        "max_tokens": "500",
        "prompt_price": "0.15",
        "completion_price": "1.2",
    }
    assert save_model(admin, model, **described).status_code == 302
    model.refresh_from_db()
    assert (model.label, model.context_tokens) == ("The good one", 8192)
    assert model.defaults == {"temperature": 0.3, "max_tokens": 500}
    assert (str(model.prompt_price), str(model.completion_price)) == ("0.1500", "1.2000")
    form = admin.get(f"{LIST}{model.provider_id}/models/{model.pk}/").context["form"]
    assert form["temperature"].value() == 0.3
    save_model(admin, model)
    model.refresh_from_db()
    assert (model.defaults, model.prompt_price) == ({}, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("context_tokens", "0"),
        ("context_tokens", "9" * 12),
        ("context_tokens", ""),
        ("temperature", "2.1"),
        ("temperature", "nan"),
        ("temperature", "1e999"),
        ("top_p", "-0.1"),
        ("max_tokens", "0"),
        ("max_tokens", "1.5"),
        ("prompt_price", "-1"),
        ("prompt_price", "1e9"),
        ("completion_price", "much"),
        ("audience", "nobody"),
        ("label", "x" * 121),
        ("users", "999999"),
        ("users", "9" * 23),
        ("users", "9" * 5000),
        ("users", "\u0663"),
        ("users", "x"),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(
    admin: Client, model: ProviderModel, field: str, value: str
) -> None:
    response = save_model(admin, model, **{"label": "New", field: value})
    assert list(errors(response)) == [field]
    model.refresh_from_db()
    assert (model.label, model.context_tokens, model.defaults) == ("", 4096, {})


def test_who_may_use_a_model(admin: Client, cast: Cast, model: ProviderModel) -> None:
    carol = User.objects.create_user("carol@example.org", name="Carol")
    carol.memberships.create(organization=cast.organization)
    people = (cast.alice, cast.bob, carol, cast.mallory)

    def users() -> list[str]:
        offered = ProviderModel.objects
        return [str(p) for p in people if offered.usable_by(p, cast.organization.pk).exists()]

    assert users() == ["Alice", "Bob", "Carol"]
    save_model(admin, model, audience=Audience.ADMINS)
    assert users() == ["Alice"]
    wrong = errors(save_model(admin, model, audience=Audience.NAMED))
    assert "at least one" in wrong["users"]
    saved = save_model(admin, model, audience=Audience.NAMED, users=[cast.bob.pk])
    assert "you do not see it yourself" in admin.get(saved["Location"]).content.decode()
    assert users() == ["Bob"]
    assert "users" in errors(
        save_model(admin, model, audience=Audience.NAMED, users=[cast.mallory.pk])
    )
    save_model(admin, model, enabled=None)
    assert users() == []
    save_model(admin, model)
    edit(admin, model.provider, enabled=None)
    assert users() == []


def test_what_is_deleted_is_not_offered(admin: Client, model: ProviderModel) -> None:
    provider = model.provider
    provider.add_models([ListedModel("another")])
    remove = page_of(provider, "models", str(model.pk), "remove")
    assert "Remove “a-model”?" in text_of(admin, remove)
    assert admin.post(remove).status_code == 302
    assert [each.name for each in provider.models.all()] == ["another"]
    assert "Conversations keep their text" in plain(text_of(admin, page_of(provider, "delete")))
    assert provider.models.exists()
    assert admin.post(page_of(provider, "delete")).status_code == 302
    assert not ProviderModel.objects.exists()


def test_another_organizations_are_not_there(
    admin: Client, cast: Cast, sign_in: SignIn, model: ProviderModel
) -> None:
    mallory = sign_in(cast.mallory)
    other = add(mallory)
    strays = [
        page_of(model.provider),
        page_of(model.provider, "delete"),
        page_of(model.provider, "models", str(model.pk)),
        page_of(other, "models", str(model.pk)),
        page_of(other, "models", str(model.pk), "remove"),
    ]
    for address in strays:
        assert mallory.get(address).status_code == 404
        assert mallory.post(address, fields()).status_code == 404
    assert "models.example.org" in text_of(mallory, LIST)
    assert stored(model.provider).models.exists()


# The test.


def trial_of(client: Client, provider: Provider, **form: Any) -> str:
    response = client.post(page_of(provider, "test"), form)
    assert response.status_code == 200
    found = re.search(r'<div id="trial".*?</section>', response.content.decode(), re.DOTALL)
    return plain(found[0]) if found else ""


def test_a_test_really_asks_and_says_what_came_back(
    operator: Client, reachable: Provider, upstream: Upstream
) -> None:
    reachable.add_models(map(ListedModel, ("first", "second")))
    upstream.default = Answer(text="Hello there!")
    second = reachable.models.latest("id")
    words = trial_of(operator, reachable, model=second.pk)
    assert "Hello there!" in words
    assert re.search(r"second · first word after \d+\.\d\d s · 2 \+ 3 tokens", words), words
    request = upstream.wait_for_request(1)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert (request.json["model"], request.json["max_tokens"]) == ("second", 16)
    assert request.messages == [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize("wanted", ["", "999999", "nonsense", "²", "9" * 5000])
def test_without_a_model_chosen_the_first_is_asked(
    operator: Client, reachable: Provider, upstream: Upstream, wanted: str
) -> None:
    reachable.add_models(map(ListedModel, ("first", "second")))
    trial_of(operator, reachable, model=wanted)
    assert upstream.wait_for_request(1).json["model"] == "first"


def test_without_any_model_nobody_is_asked(operator: Client, reachable: Provider) -> None:
    assert "Add a model first" in operator.post(page_of(reachable, "test")).content.decode()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(Answer(status=401, body={"error": "no"}), "refused the key", id="401"),
        pytest.param(Answer(status=404, body={"error": "what?"}), "does not know this", id="404"),
        pytest.param(Answer(status=429, body={"error": "slow"}), "too much to do", id="429"),
        pytest.param(Answer(status=500, body="<b>oops</b>"), "provider failed", id="500"),
        pytest.param(Answer(text="Half", end="reset", cut_after=4), "connection broke", id="cut"),
        pytest.param(Answer(text="", reasoning="Hm"), "Only reasoning", id="reasoning only"),
        pytest.param(Answer(text=""), "with no text", id="no text"),
    ],
)
def test_a_test_says_what_went_wrong(
    operator: Client, reachable: Provider, upstream: Upstream, answer: Answer, words: str
) -> None:
    reachable.add_models([ListedModel("first")])
    upstream.default = answer
    assert words in trial_of(operator, reachable)


def test_the_providers_words_are_shown_as_text(
    operator: Client, reachable: Provider, upstream: Upstream
) -> None:
    reachable.add_models([ListedModel("first")])
    upstream.default = Answer(status=400, body={"error": {"message": "<script>alert(1)</script>"}})
    page = operator.post(page_of(reachable, "test")).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page


def test_a_host_that_moved_inside_is_not_asked(
    admin: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check when it is saved promises nothing: the name may mean another address by now."""
    port = upstream.url.rpartition(":")[2].partition("/")[0]
    provider = add(admin, base_url=f"http://models.example.org:{port}/v1")
    provider.add_models([ListedModel("first")])
    monkeypatch.setitem(HOSTS, "models.example.org", "127.0.0.1")
    assert "not public" in trial_of(admin, provider)
    assert "not public" in plain(fetch(admin, provider).content.decode())
    assert not upstream.requests


# What the environment has set.


def test_the_environments_provider_is_shown_without_its_secrets(
    admin: Client, settings: Any
) -> None:
    settings.COMPLETIONS_URL = "https://name:word@gateway.example.org/ai?token=url-secret"
    settings.COMPLETIONS_API_KEY = "environment-key"
    settings.COMPLETIONS_AUTH = "x-api-key"
    page = text_of(admin, LIST)
    assert "https://gateway.example.org/ai" in page
    for words in ("From the environment", "x-api-key", "Key set", "test-model", "Read-only"):
        assert words in page
    for secret in ("environment-key", "word@", "url-secret"):
        assert secret not in page


@pytest.mark.parametrize(
    ("built_in", "words"), [(True, "Built-in model"), (False, "Nothing is set.")]
)
def test_without_an_endpoint_the_built_in_model_is_shown(
    admin: Client, settings: Any, built_in: bool, words: str
) -> None:
    settings.COMPLETIONS_URL = ""
    settings.BUILT_IN_MODEL = built_in
    page = text_of(admin, LIST)
    assert words in page
    assert (MODEL_ALIAS in page) is built_in


# Error reports.


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """What would be sent of each error that no view has caught."""
    made: list[str] = []

    def report(request: Any, **_more: Any) -> None:
        reporter = ExceptionReporter(request, *sys.exc_info())
        made.append(reporter.get_traceback_html() + reporter.get_traceback_text())

    got_request_exception.connect(report)
    yield made
    got_request_exception.disconnect(report)


@pytest.mark.parametrize("debug", [False, True], ids=["", "the test itself would see it"])
@pytest.mark.parametrize(
    ("place", "is_new"),
    [
        pytest.param("organizations.models.Provider.save", False, id="changing"),
        pytest.param("organizations.models.Provider.save", True, id="adding"),
        pytest.param("organizations.models.provider.encrypt", False, id="encrypting"),
        pytest.param("organizations.forms.providers.judge_address", False, id="checking"),
    ],
)
def test_no_report_of_a_form_that_broke_holds_the_key(
    admin: Client,
    reports: list[str],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    is_new: bool,
    debug: bool,
) -> None:
    address = NEW if is_new else page_of(add(admin))
    monkeypatch.setattr(place, Mock(side_effect=ZeroDivisionError))
    settings.DEBUG = debug
    with pytest.raises(ZeroDivisionError):
        admin.post(address, fields(name="Another", base_url="https://other.example.org/v1"))
    [report] = reports
    assert "ZeroDivisionError" in report
    assert (KEY in report) is debug


@pytest.mark.parametrize("what", ["fetch", "test"])
def test_no_report_of_asking_that_broke_holds_the_key(
    admin: Client,
    model: ProviderModel,
    reports: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    send = Mock(side_effect=ZeroDivisionError)
    monkeypatch.setattr("httpx.AsyncClient.send", send)
    with pytest.raises(ZeroDivisionError):
        admin.post(page_of(model.provider, what))
    assert KEY in send.call_args.args[0].headers["Authorization"]
    [report] = reports
    assert "ZeroDivisionError" in report
    assert KEY not in report
    assert "in list_models" in caplog.text or "in _ask" in caplog.text, "where it broke"
    assert KEY not in caplog.text


# The organization.


def test_admins_change_the_organizations_name_and_what_programs_may(
    admin: Client, cast: Cast
) -> None:
    address = "/settings/organization/"
    assert "allows_unstored_calls" in text_of(admin, address)
    assert not cast.organization.allows_unstored_calls
    form = {"name": "Renamed Org", "allows_unstored_calls": "on"}
    assert admin.post(address, form).status_code == 302
    cast.organization.refresh_from_db()
    assert (cast.organization.name, cast.organization.allows_unstored_calls) == (
        "Renamed Org",
        True,
    )
    response = admin.post(address, {"name": "", "allows_unstored_calls": ""})
    assert response.status_code == 422
    assert "Renamed Org" in response.content.decode()
    cast.organization.refresh_from_db()
    assert cast.organization.allows_unstored_calls


def test_who_sets_the_site_up_runs_it() -> None:
    set_up(email="ada@example.org", name="Ada", password="x", organization="Engines")
    assert User.objects.get(email="ada@example.org").is_superuser


def test_on_a_site_that_was_there_before_its_first_admin_runs_it(cast: Cast) -> None:
    migration = import_module("organizations.migrations.0002_tokens_and_providers")
    for _ in range(2):
        migration.let_the_first_person_run_the_site(apps, None)
    runs = User.objects.filter(is_superuser=True)
    assert [str(user) for user in runs] == ["Alice"]
