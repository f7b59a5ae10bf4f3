"""What people type into settings and at the door."""

from organizations.forms.people import (
    InvitationForm,
    NameForm,
    NewPasswordForm,
    OrganizationForm,
    PersonForm,
    SetupForm,
    SignInForm,
)
from organizations.forms.provider_models import ModelForm, NewModelsForm
from organizations.forms.providers import ProviderForm
from organizations.forms.tokens import TokenForm

__all__ = [
    "InvitationForm",
    "ModelForm",
    "NameForm",
    "NewModelsForm",
    "NewPasswordForm",
    "OrganizationForm",
    "PersonForm",
    "ProviderForm",
    "SetupForm",
    "SignInForm",
    "TokenForm",
]
