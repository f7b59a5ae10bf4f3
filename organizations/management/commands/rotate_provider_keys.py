"""`manage.py rotate_provider_keys`: after SECRET_KEY has changed."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from organizations.models import Provider
from organizations.secrets import SecretLost


class Command(BaseCommand):
    help = (
        "Encrypt the providers' keys with the current SECRET_KEY; the one before it has to stand "
        "in SECRET_KEY_FALLBACKS until this is done."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done, lost = 0, []
        with transaction.atomic():
            with_key = Provider.objects.select_for_update().exclude(encrypted_key="")
            for provider in with_key.order_by("id"):
                try:
                    provider.reencrypt_key()
                except SecretLost:
                    lost.append(f"{provider.name} ({provider.organization_id})")
                else:
                    provider.save(update_fields=["encrypted_key"])
                    done += 1
        self.stdout.write(f"{done} {'key' if done == 1 else 'keys'} encrypted anew.")
        if lost:
            raise CommandError(
                "Not readable with SECRET_KEY or SECRET_KEY_FALLBACKS, and left as they are: "
                + ", ".join(lost)
            )
