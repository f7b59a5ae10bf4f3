"""The models of a provider: which are added, and what is said of each."""

from typing import Any, cast

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from completions.listing import ListedModel
from organizations.models import Audience, Organization, ProviderModel, User
from organizations.models.provider import MODEL_NAME_CHARS

MOST_MODELS_AT_ONCE = 100
MOST_CONTEXT_TOKENS = 2**31 - 1
MOST_ANSWER_TOKENS = 1_000_000
MOST_ID_DIGITS = 18  # fit into a 64-bit number; int() refuses 5,000 with an error


class NewModelsForm(forms.Form):
    """Models to add: ticked in the provider's list, or typed."""

    typed = forms.CharField(
        label=_("Or type their names"),
        required=False,
        help_text=_("One on each line, as the provider calls them."),
        widget=forms.Textarea({"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        lines = str(values.get("typed", "")).splitlines()
        chosen = [_listed(choice) for choice in self._ticked()]
        chosen += [ListedModel(id=line.strip()) for line in lines if line.strip()]
        by_id: dict[str, ListedModel] = {}
        for model in chosen:
            by_id.setdefault(model.id, model)
        unique = list(by_id.values())
        if not unique:
            self.add_error("typed", _("Tick or type at least one."))
        elif len(unique) > MOST_MODELS_AT_ONCE:
            self.add_error("typed", _("At most %d at once.") % MOST_MODELS_AT_ONCE)
        elif any(not _is_name(model.id) for model in unique):
            text = _("A name has at most %d characters, all of them printable.") % MODEL_NAME_CHARS
            self.add_error("typed", text)
        values["models"] = unique
        return values

    def _ticked(self) -> list[str]:
        ticked: list[str] = self.data.getlist("listed") if hasattr(self.data, "getlist") else []
        return ticked


class MembersField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # as ModelForm
    """Chosen members: also says of a number that no id can be that it is no choice."""

    def clean(self, value: Any) -> QuerySet[User]:
        for each in value or ():
            if not is_id(each):
                error, known = self.error_messages["invalid_pk_value"], {"pk": str(each)[:20]}
                raise ValidationError(error, "invalid_pk_value", known)
        return super().clean(value)


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """What an organization says of one model; its name and id stay."""

    temperature = forms.FloatField(label=_("Temperature"), required=False)
    top_p = forms.FloatField(label=_("Top p"), required=False)
    max_tokens = forms.IntegerField(label=_("Most tokens"), required=False)

    class Meta:
        model = ProviderModel
        fields = (
            "label",
            "context_tokens",
            "prompt_price",
            "completion_price",
            "audience",
            "users",
            "enabled",
        )
        labels = {
            "label": _("Shown name"),
            "context_tokens": _("Context length in tokens"),
            "prompt_price": _("Prompt"),
            "completion_price": _("Answer"),
            "audience": _("Who may use it"),
            "users": _("Chosen members"),
            "enabled": _("Offered"),
        }
        field_classes = {"users": MembersField}
        widgets = {"audience": forms.RadioSelect, "users": forms.CheckboxSelectMultiple}

    RANGES = {
        "temperature": (0, 2, "any"),
        "top_p": (0, 1, "any"),
        "max_tokens": (1, MOST_ANSWER_TOKENS, "1"),
        "context_tokens": (1, MOST_CONTEXT_TOKENS, "1"),
        "prompt_price": (0, 999_999, "any"),
        "completion_price": (0, 999_999, "any"),
    }

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in self.instance.defaults.items():
            self.initial[name] = value
        for name, (least, most, step) in self.RANGES.items():
            self.fields[name].widget.attrs |= {"min": least, "max": most, "step": step}
        members = User.objects.filter(memberships__organization=organization)
        users = cast("forms.ModelMultipleChoiceField[User]", self.fields["users"])
        users.queryset = members.order_by("name", "id")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        for name, (least, most, _step) in self.RANGES.items():
            value = values.get(name)
            if value is not None and not least <= value <= most:
                limits = {"least": f"{least:,}", "most": f"{most:,}"}
                self.add_error(name, _("A number from %(least)s to %(most)s.") % limits)
        if values.get("audience") == Audience.NAMED and not values.get("users"):
            self.add_error("users", _("Choose at least one, or let admins only use it."))
        return values

    def save(self, commit: bool = True) -> Any:
        names = ("temperature", "top_p", "max_tokens")
        values = {name: self.cleaned_data.get(name) for name in names}
        self.instance.defaults = {
            name: value for name, value in values.items() if value is not None
        }
        return super().save(commit)


def is_id(text: str) -> bool:
    """Whether a database can be asked for a row of this id: SQLite overflows beyond 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= MOST_ID_DIGITS


def encode_listed(model: ListedModel) -> str:
    """A model of the provider's list as the value of a box to tick."""
    return msgspec.json.encode(model).decode()


def _listed(choice: str) -> ListedModel:
    """What encode_listed made of it; without an id, which is refused, for anything else."""
    try:
        model = msgspec.json.decode(choice.encode("utf-8", "replace"), type=ListedModel)
    except msgspec.MsgspecError:
        return ListedModel(id="")
    size = model.context_tokens
    is_sound = model.label.isprintable() and (size is None or 0 < size <= MOST_CONTEXT_TOKENS)
    return model if is_sound else ListedModel(id="")


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MODEL_NAME_CHARS and name.isprintable()
