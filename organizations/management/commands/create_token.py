"""`manage.py create_token`: an access token for a person's programs, for automation."""

import uuid
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from organizations.models import AccessToken, Membership, Organization, Scope, User
from organizations.models.token import MOST_TOKENS, NAME_CHARS, TooManyTokens

MOST_DAYS = 3650


class Command(BaseCommand):
    help = "Make an access token for a member; prints it alone on the output's last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True, help="the member who owns it")
        parser.add_argument("--organization", required=True, help="its name or id")
        parser.add_argument("--name", required=True, help="what it is for")
        parser.add_argument("--days", type=int, help="valid for so long; without it, for ever")
        parser.add_argument(
            "--scope",
            action="append",
            choices=Scope.values,
            help="what it may do; may be repeated; without it, everything",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        membership = _membership(options["email"], options["organization"])
        name = options["name"].strip()
        if not name or len(name) > NAME_CHARS or not name.isprintable():
            raise CommandError(f"Give the token a name of at most {NAME_CHARS} characters.")
        days = options["days"]
        if days is not None and not 1 <= days <= MOST_DAYS:
            raise CommandError(f"Give --days a number from 1 to {MOST_DAYS}.")
        chosen = options["scope"] or Scope.values
        try:
            token, secret = AccessToken.issue(
                membership,
                name,
                scopes=tuple(scope for scope in Scope if scope in chosen),
                expires_at=timezone.now() + timedelta(days=days) if days else None,
            )
        except TooManyTokens as error:
            raise CommandError(
                f"{membership.user.email} has {MOST_TOKENS} tokens already: revoke one first."
            ) from error
        until = f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "without an end"
        self.stderr.write(
            f"Made “{token.name}” for {membership.user.email} in {membership.organization}, "
            f"valid {until} for: {', '.join(token.scopes)}. It is not shown again."
        )
        self.stdout.write(secret)


def _membership(email: str, wanted: str) -> Membership:
    organization = _organization(wanted.strip())
    user = User.objects.filter(email=email.strip().lower()).first()
    if user is None:
        raise CommandError(f"Nobody here has the address {email}.")
    if not user.is_active:
        raise CommandError(f"The account of {email} is closed.")
    membership = Membership.objects.of(user).filter(organization=organization).first()
    if membership is None:
        raise CommandError(f"{email} is not a member of {organization}.")
    return membership


def _organization(wanted: str) -> Organization:
    """By id or by name; names need not be unique."""
    try:
        found = list(Organization.objects.filter(pk=uuid.UUID(wanted)))
    except ValueError:
        found = list(Organization.objects.filter(name=wanted)[:2])
    if not found:
        raise CommandError(f"There is no organization {wanted}: give its name or its id.")
    if len(found) > 1:
        raise CommandError(f"Several organizations are called {wanted}: give the id instead.")
    return found[0]
