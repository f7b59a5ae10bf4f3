"""The first person and organization: made once, by link or by command."""

from django.db import connection, transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from organizations.models import Membership, Organization, Role, User


class AlreadySetUp(Exception):
    """There is a person already."""


def is_set_up() -> bool:
    return Membership.objects.exists()


def setup_token() -> str:
    """The one-time token. Nothing needs to be stored: it is worth nothing once a person exists."""
    return salted_hmac("organizations.setup", "first person", algorithm="sha256").hexdigest()[:40]


def is_setup_token(token: str) -> bool:
    return constant_time_compare(token, setup_token()) and not is_set_up()


def set_up(*, email: str, name: str, password: str, organization: str) -> Membership:
    """Make the first person: admin of the first organization, and of the instance.

    Raises AlreadySetUp where somebody exists, also where two do it at the same moment.
    """
    with transaction.atomic():
        _lock_people()
        if is_set_up():
            raise AlreadySetUp
        user = _person(email, name, password)
        team = Organization.objects.create(name=organization)
        return Membership.objects.create(organization=team, user=user, role=Role.ADMIN)


def _person(email: str, name: str, password: str) -> User:
    """New, or the one whom `createsuperuser` has made before the site was set up."""
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        return User.objects.create_user(email, password, name=name, is_superuser=True)
    user.name = name
    user.is_superuser = True
    user.set_password(password)
    user.save(update_fields=["name", "password", "is_superuser"])
    return user


def _lock_people() -> None:
    """SQLite's immediate transactions exclude each other; PostgreSQL has to be told."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE organizations_user IN SHARE ROW EXCLUSIVE MODE")
