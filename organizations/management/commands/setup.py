"""`manage.py setup`: the first person and organization, for automation."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from organizations.models import User
from organizations.setup import AlreadySetUp, set_up


class Command(BaseCommand):
    help = "Make the first person (an admin) and the organization; prints the organization's id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--organization", required=True)
        parser.add_argument("--name", default="")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password's line from stdin"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"].strip().lower()
        name = options["name"].strip() or email.partition("@")[0]
        password = self._password(options["password_stdin"])
        try:
            validate_email(email)
            validate_password(password, User(email=email, name=name))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        organization = options["organization"].strip()
        if not organization or len(organization) > 80 or len(name) > 80:
            raise CommandError("Give an organization's name of at most 80 characters.")
        os.umask(0o077)  # a database made here is nobody else's
        call_command("migrate", verbosity=0, interactive=False)
        try:
            membership = set_up(
                email=email, name=name, password=password, organization=organization
            )
        except AlreadySetUp as error:
            raise CommandError(
                "This site is set up already: invite people under Settings > Members."
            ) from error
        self.stdout.write(str(membership.organization_id))

    def _password(self, from_stdin: bool) -> str:
        if from_stdin:
            return sys.stdin.readline().rstrip("\r\n")
        if not sys.stdin.isatty():
            raise CommandError("Give the password's line on the input, with --password-stdin.")
        from getpass import getpass

        return getpass("Password: ")
