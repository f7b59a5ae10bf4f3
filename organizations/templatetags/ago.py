"""How long ago something was, in the words that every page uses."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

register = template.Library()


@register.filter
def ago(moment: datetime) -> str:
    """Say it in its largest unit: "just now", "5 minutes ago", "3 weeks ago"."""
    if timezone.now() - moment < timedelta(minutes=1):
        return _("just now")
    return _("%s ago") % timesince(moment, depth=1)
