"""What people type about themselves and their team."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from organizations.models import Organization, Role, User


class SignInForm(AuthenticationForm):
    """E-mail address and password."""

    error_messages = {
        "invalid_login": _("That address and password don't match. Check both and try again."),
        "inactive": _("This account is closed. Ask an admin of your organization."),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"] = forms.EmailField(
            label=_("E-mail"),
            widget=forms.EmailInput(attrs={"autofocus": True, "autocomplete": "username"}),
        )

    def clean_username(self) -> str:
        return str(self.cleaned_data["username"]).lower()


class NewPasswordForm(PasswordChangeForm):
    """The old password and the new one twice, in a page where it is not the only form."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["old_password"].widget.attrs["autofocus"]


class PersonForm(forms.Form):
    """A new person: name, address, password."""

    name = forms.CharField(
        label=_("Your name"), max_length=80, widget=forms.TextInput({"autocomplete": "name"})
    )
    email = forms.EmailField(
        label=_("E-mail"), widget=forms.EmailInput({"autocomplete": "username"})
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text=_("At least 10 characters."),
    )

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"]).lower()
        if User.objects.filter(email=email).exists():
            raise ValidationError(_("Somebody with this address has an account. Sign in instead."))
        return email

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if "password" in values:
            person = User(email=values.get("email", ""), name=values.get("name", ""))
            try:
                validate_password(values["password"], person)
            except ValidationError as error:
                self.add_error("password", error)
        return values


class SetupForm(PersonForm):
    """The first person, and the organization."""

    organization = forms.CharField(
        label=_("Organization"),
        max_length=80,
        help_text=_("Your team's or company's name. You will be its admin."),
    )


class InvitationForm(forms.Form):
    """Which role the invited person gets."""

    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.MEMBER)


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """The name that others see."""

    class Meta:
        model = User
        fields = ("name",)
        labels = {"name": _("Your name")}


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """What admins decide about the organization as a whole."""

    class Meta:
        model = Organization
        fields = ("name", "allows_unstored_calls")
        labels = {
            "name": _("Name"),
            "allows_unstored_calls": _("Programs may ask for their texts not to be kept"),
        }
        help_texts = {
            "allows_unstored_calls": _(
                'A call with "store": false then leaves its times, model and tokens, and no text. '
                "Where this is off, every call's texts are kept."
            ),
        }
