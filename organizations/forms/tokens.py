"""A new access token: what it is called, how long it is valid, and what it may do."""

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from organizations.models import AccessToken, Membership, Scope
from organizations.models.token import NAME_CHARS

NEVER, OWN_DATE = "never", "date"
EXPIRIES = [
    ("30", _("30 days")),
    ("90", _("90 days")),
    ("365", _("1 year")),
    (NEVER, _("Never")),
    (OWN_DATE, _("On a date")),
]
MOST_YEARS = 10


class TokenForm(forms.Form):
    """For one member's own token."""

    name = forms.CharField(
        label=_("Name"),
        max_length=NAME_CHARS,
        help_text=_("What it is for, as “Nightly report”."),
        widget=forms.TextInput({"autocomplete": "off"}),
    )
    expiry = forms.ChoiceField(
        label=_("Expires"), choices=EXPIRIES, initial="90", widget=forms.RadioSelect
    )
    until = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"),
    )
    scopes = forms.MultipleChoiceField(
        label=_("May"),
        choices=Scope.choices,
        initial=Scope.values,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )

    def __init__(self, membership: Membership, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._membership = membership

    def clean_name(self) -> str:
        """Names differ, also so that a form that is sent again by a reload makes no second one."""
        name = str(self.cleaned_data["name"])
        if AccessToken.objects.of(self._membership).usable().filter(name=name).exists():
            raise ValidationError(_("You have a token with this name already."))
        return name

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("expiry") == OWN_DATE and "until" in values:
            today = timezone.localdate()
            if values["until"] is None:
                self.add_error("until", _("Give the last day on which it is valid."))
            elif not today <= values["until"] <= today + timedelta(days=366 * MOST_YEARS):
                self.add_error("until", _("Give a day from today on, within 10 years."))
        return values

    @property
    def expires_at(self) -> datetime | None:
        """When it ends, None for never; only of a valid form."""
        expiry = self.cleaned_data["expiry"]
        if expiry == NEVER:
            return None
        if expiry == OWN_DATE:
            after = self.cleaned_data["until"] + timedelta(days=1)
            return timezone.make_aware(datetime.combine(after, time.min))
        return timezone.now() + timedelta(days=int(expiry))

    @property
    def scopes_chosen(self) -> tuple[Scope, ...]:
        """Only of a valid form."""
        return tuple(scope for scope in Scope if scope in self.cleaned_data["scopes"])
