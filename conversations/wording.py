"""What people read when something cannot be done: codes into words, in this one place."""

from dataclasses import dataclass

from django.utils.translation import gettext as _


@dataclass(frozen=True, slots=True)
class Words:
    """What happened, and what to do next."""

    title: str
    advice: str = ""


def refusal(code: str, *, seconds: int = 0, name: str = "", limit: int = 0) -> Words:
    """Why an action was not done. The draft is always kept."""
    match code:
        case "empty":
            return Words(_("Type a message first."))
        case "too_long":
            return Words(_("This message is too long."), _("Send at most 32,000 characters."))
        case "read_only":
            return Words(_("You can read this conversation, not write in it."))
        case "busy":
            return Words(
                _("An answer is being written."), _("Send this when it is done, or stop it.")
            )
        case "too_fast":
            return Words(
                _("You have sent %d messages in a minute.") % limit,
                _("Try again in %d s.") % seconds,
            )
        case "model_gone":
            return Words(
                _("%s is not offered any more.") % (name or _("This model")),
                _("Choose another model."),
            )
        case "no_model":
            return Words(
                _("No model is set up."), _("Ask whoever runs this site to set a provider.")
            )
        case "flood":
            return Words(_("Too many messages at once."), _("Wait a moment and try again."))
        case "not_stored":
            return Words(_("This could not be stored."), _("Try again in a moment."))
        case "malformed":
            return Words(_("That could not be read."), _("Reload the page and try again."))
        case _other:
            return Words(_("This is not there any more."), _("Reload the page."))


def failure(code: str, *, model: str) -> Words:
    """Why an answer failed or was interrupted."""
    match code:
        case "unreachable":
            return Words(_("The model's provider could not be reached."), _("Try again later."))
        case "misconfigured":
            return Words(
                _("The provider refused the site's key or address."),
                _("Ask whoever runs this site to check the provider's settings."),
            )
        case "address_forbidden":
            return Words(
                _("The provider's address is not allowed."),
                _("Ask an admin to check it under Settings > Providers."),
            )
        case "paused":
            return Words(
                _("The provider has failed many times and is left alone for a moment."),
                _("Try again in some seconds."),
            )
        case "model_not_found" | "model_gone":
            return Words(
                _("%s is not offered by the provider any more.") % model,
                _("Choose another model, then try again."),
            )
        case "token_revoked":
            return Words(_("The access token had ended before the answer began."))
        case "key_lost":
            return Words(
                _("The provider's key can't be read any more."),
                _("Ask an admin to enter it again under Settings > Providers."),
            )
        case "busy":
            return Words(_("The provider has too much to do."), _("Try again in a minute."))
        case "prompt_too_long":
            return Words(
                _("This conversation is longer than %s can read.") % model,
                _("Start a new chat, or choose a model that reads more."),
            )
        case "refused":
            return Words(
                _("The provider did not accept the request."),
                _("Check the parameters, then try again."),
            )
        case "first_token_timeout":
            return Words(_("The provider did not answer in time."), _("Try again."))
        case "total_timeout":
            return Words(_("The answer took too long."), _("Continue it, or ask for less."))
        case "stalled":
            return Words(_("Interrupted: the provider went silent."), _nothing_lost())
        case "broken":
            return Words(_("Interrupted: the connection to the provider broke."), _nothing_lost())
        case "server_stopped":
            return Words(_("Interrupted: the server restarted."), _nothing_lost())
        case "server_killed":
            return Words(
                _("Interrupted: the server ended unexpectedly."),
                _("At most the last half second is missing."),
            )
        case "built_in_unavailable":
            return Words(_("The built-in model is not running."), _("Try again in a moment."))
        case "internal":
            return Words(_("Something went wrong on this server."), _("Try again."))
        case _other:
            return Words(_("The provider failed."), _("Try again."))


def thought(seconds: float | None, *, is_thinking: bool = False) -> str:
    """The heading of an answer's reasoning; `seconds` is how long it took, where that is known."""
    if is_thinking:
        return _("Thinking…")
    if seconds is None:
        return _("Thoughts")
    whole = max(1, round(seconds))
    if whole < 60:
        return _("Thought for %d s") % whole
    minutes, rest = divmod(whole, 60)
    return _("Thought for %(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}


def _nothing_lost() -> str:
    return _("Nothing that you saw is lost.")
