"""People and what they belong to."""

from organizations.models.invitation import Invitation
from organizations.models.organization import Membership, Organization, Role
from organizations.models.provider import Audience, Auth, Provider, ProviderModel
from organizations.models.token import AccessToken, Scope
from organizations.models.user import User

__all__ = [
    "AccessToken",
    "Audience",
    "Auth",
    "Invitation",
    "Membership",
    "Organization",
    "Provider",
    "ProviderModel",
    "Role",
    "Scope",
    "User",
]
