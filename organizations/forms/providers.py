"""A provider of completions: where it is, and the key that it wants."""

import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from organizations.models import Auth, Provider, User
from organizations.presets import PLACEHOLDER
from organizations.probing import Address, judge_address

# Gemini and Azure also take keys there; an address is shown, and stored as it is.
SECRET_PARAMETER = re.compile(r"key|token|secret|signature|password", re.IGNORECASE)
DEFAULT_PORTS = {"http": 80, "https": 443}


class ProviderForm(forms.Form):
    """A new provider, or what is changed of one. The key is never put into the form."""

    name = forms.CharField(label=_("Name"), max_length=80)
    base_url = forms.CharField(
        label=_("Base URL"),
        max_length=500,
        help_text=_("Up to /chat/completions, without it."),
        widget=forms.URLInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    is_private = forms.BooleanField(
        label=_("This is an address in our own network"),
        required=False,
        help_text=_("Only you, who run this site, can allow that."),
    )
    auth = forms.ChoiceField(label=_("How the key is sent"), choices=Auth.choices)
    key = forms.CharField(
        label=_("Key"),
        required=False,
        max_length=4000,
        widget=forms.PasswordInput({"autocomplete": "off", "spellcheck": "false"}),
    )
    remove_key = forms.BooleanField(label=_("Remove the key"), required=False)
    prefill = forms.BooleanField(
        label=_("Continues answers in place"),
        required=False,
        help_text=_(
            "It goes on with an answer that ends the request, as llama.cpp does. Others are asked "
            "to go on."
        ),
    )
    enabled = forms.BooleanField(
        label=_("In use"),
        required=False,
        initial=True,
        help_text=_("Where this is off, none of its models is offered."),
    )

    def __init__(self, provider: Provider, user: User, *args: Any, **kwargs: Any) -> None:
        """For `provider`, whose organization is set; new ones are not stored yet."""
        super().__init__(*args, **kwargs)
        self._provider = provider
        self._is_new = provider.pk is None
        self._runs_site = user.is_superuser
        if not self._runs_site:
            del self.fields["is_private"]
        if self._is_new:
            del self.fields["enabled"]
        if not provider.has_key:
            del self.fields["remove_key"]
        else:
            self.fields["key"].help_text = _("Leave empty to keep the one that is stored.")

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        others = self._provider.organization.providers.exclude(pk=self._provider.pk)
        if others.filter(name=name).exists():
            raise ValidationError(_("There is a provider with this name already."))
        return name

    def clean_base_url(self) -> str:
        url = str(self.cleaned_data["base_url"]).rstrip("/")
        parts = _split(url)
        if PLACEHOLDER in url:
            raise ValidationError(_("Put your organization's id in place of ORGANIZATION_ID."))
        if any(SECRET_PARAMETER.search(name) for name, _value in parse_qsl(parts.query)):
            raise ValidationError(_("The key belongs into its own field, not into the address."))
        return url

    @sensitive_variables()
    def clean_key(self) -> str:
        key = str(self.cleaned_data["key"])
        # Never quoted: the message is shown, the key is not.
        if not all("!" <= char <= "~" for char in key):
            raise ValidationError(_("This has characters that no key can have."))
        return key

    @sensitive_variables()
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("key") and values.get("auth") == Auth.NONE:
            self.add_error("key", _("Choose how the key is sent, or leave this empty."))
        if values.get("base_url"):
            self._check_origin(values["base_url"], values)
            self._check_address(values["base_url"], values.get("is_private", False))
        return values

    @sensitive_variables()
    def save(self) -> Provider:
        """Store it, with the key encrypted. Raises DatabaseError where it was deleted meanwhile."""
        provider, values = self._provider, self.cleaned_data
        if self._runs_site:
            provider.allows_private = values["is_private"]
        elif values["base_url"] != provider.base_url:
            provider.allows_private = False
        provider.name, provider.base_url = values["name"], values["base_url"]
        provider.auth, provider.prefill = values["auth"], values["prefill"]
        provider.enabled = values.get("enabled", True)
        if values["auth"] == Auth.NONE or values.get("remove_key"):
            provider.set_key("")
        elif values["key"]:
            provider.set_key(values["key"])
        provider.save(force_insert=self._is_new, force_update=not self._is_new)
        return provider

    def _check_address(self, url: str, is_private: bool) -> None:
        """Server-side request forgery: only who runs the site says what is asked inside of it."""
        if not self._runs_site and url == self._provider.base_url:
            return  # as it was allowed before
        match judge_address(url, allow_private=is_private):
            case Address.FORBIDDEN if is_private:
                self.add_error("base_url", _("No provider can have this address."))
            case Address.FORBIDDEN if self._runs_site:
                text = _("This address is not public. If it is meant, tick the box below.")
                self.add_error("base_url", text)
            case Address.UNKNOWN if self._runs_site and not is_private:
                self.add_error("base_url", _("This host can't be found."))
            case Address.FORBIDDEN | Address.UNKNOWN if not self._runs_site:
                # The same words for both: they must not tell which names exist inside.
                text = _(
                    "This host has no public address. Only who runs this site can add an address "
                    "in its own network."
                )
                self.add_error("base_url", text)

    def _check_origin(self, url: str, values: dict[str, Any]) -> None:
        """A stored key never goes to another host: who changes the host has to know the key."""
        if not self._provider.has_key or "key" not in values:
            return
        leaves = values["key"] or values.get("remove_key") or values.get("auth") == Auth.NONE
        if not leaves and _origin(url) != _origin(self._provider.base_url):
            self.add_error("key", _("Enter the key again: the address has another host."))


def _split(url: str) -> SplitResult:
    """The URL's parts. Raises ValidationError for what is no address of an endpoint."""
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http or not url.isprintable() or " " in url or "\\" in url:
        raise ValidationError(_("Give an address that begins with https:// or http://."))
    if "@" in parts.netloc:
        raise ValidationError(_("An address has no name and no password in it."))
    if "#" in url:
        raise ValidationError(_("An address has no “#” in it."))
    return parts


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
