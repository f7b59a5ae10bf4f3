"""Every setting, read from the environment once. README's table lists them."""

import logging
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url

from chatsite.env import (
    data_directory,
    env_bool,
    env_choice,
    env_list,
    env_number,
    env_str,
    env_url,
    secret_key,
)

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = data_directory(BASE_DIR / "data")

SECRET_KEY = secret_key(DATA_DIR)
SECRET_KEY_FALLBACKS = env_list("SECRET_KEY_FALLBACKS")
DEBUG = env_bool("DEBUG", False)

# Where people reach the site, if not only on this machine: sets hosts, origins and https rules.
PUBLIC_URL = env_url("PUBLIC_URL")
_public = urlsplit(PUBLIC_URL)
_https = _public.scheme == "https"
ALLOWED_HOSTS = [*env_list("ALLOWED_HOSTS"), "localhost", "127.0.0.1", "[::1]"]
if _public.hostname:
    ALLOWED_HOSTS.append(_public.hostname)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
TRUSTED_PROXIES = env_str("TRUSTED_PROXIES", "127.0.0.1")

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 60 * 60 * 24 * 30
# Behind a proxy https is known from X-Forwarded-Proto, which uvicorn believes TRUSTED_PROXIES.
SECURE_SSL_REDIRECT = _https
# /healthz is asked from inside, without the proxy's header.
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_HSTS_SECONDS = 60 * 60 * 24 * 365 if _https else 0
# For this host alone: those below it, and browsers' lists, are not this site's to decide about.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# daphne is runserver's server, and has to be the first app for that. Every other command is spared
# it: importing Twisted takes half of the start's time and a tenth of its memory.
_RUNSERVER = sys.argv[1:2] == ["runserver"]
INSTALLED_APPS = [
    *(["daphne"] if _RUNSERVER else []),
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "chatsite.apps.AssetsConfig",
    "channels",
    "django_htmx",
    "organizations",
    "conversations",
    "chatsite.apps.ChatsiteConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    # Pages only, 23 kB → 6 kB; a stream would need "Content-Encoding: identity" (clients on httpx
    # read an empty text otherwise). Tokens in pages are masked anew each time (BREACH).
    "django.middleware.gzip.GZipMiddleware",
    "chatsite.headers.content_security",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "organizations.middleware.current_membership",
]

ROOT_URLCONF = "chatsite.urls"
ASGI_APPLICATION = "chatsite.asgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader"],
                )
            ]
            if not DEBUG
            else ["django.template.loaders.filesystem.Loader"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chatsite.context.site",
                "conversations.context.sidebar",
            ],
        },
    }
]

DATABASES = {
    "default": dj_database_url.parse(
        env_str("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'chatsite.sqlite3'}",
        # Each request has a thread of its own, and a kept connection would be nobody's: measured,
        # 60 requests left 16 open. The pool's threads keep theirs: conversations/database.py.
        conn_max_age=0,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Measured, 600 read-then-write transactions from several connections: 19 failed with the
    # defaults, 132 with WAL alone, none with WAL and IMMEDIATE.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA foreign_keys=ON;"
            "PRAGMA cache_size=-16000;PRAGMA temp_store=MEMORY;"
        ),
    }
else:
    DATABASES["default"].setdefault("OPTIONS", {})["connect_timeout"] = 5
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "organizations.User"
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "conversation_new"
LOGOUT_REDIRECT_URL = "sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = env_str("TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
# A STATIC_ROOT of the operator's (an image's) holds what `collectstatic` put there at build time.
COLLECT_STATIC = not env_str("STATIC_ROOT")
STATIC_ROOT = Path(env_str("STATIC_ROOT") or DATA_DIR / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "chatsite.assets.AssetStorage"},
}
# `runserver` shows the sources; every other server the collected, compressed, hashed files.
SERVESTATIC_USE_FINDERS = DEBUG or _RUNSERVER
SERVESTATIC_AUTOREFRESH = DEBUG

# A form is at most a message of 32,000 characters (4 bytes each at worst, percent-encoded).
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES = 512 * 1024
MAX_FRAME_BYTES = 256 * 1024

# The completions endpoint. Without COMPLETIONS_URL the built-in model answers.
COMPLETIONS_URL = env_url("COMPLETIONS_URL")
COMPLETIONS_API_KEY = env_str("COMPLETIONS_API_KEY")
COMPLETIONS_AUTH = env_choice("COMPLETIONS_AUTH", "x-api-key", ("x-api-key", "bearer", "none"))
COMPLETIONS_MODELS = env_list("COMPLETIONS_MODELS")
COMPLETIONS_CONTEXT_TOKENS = int(env_number("COMPLETIONS_CONTEXT_TOKENS", 128_000, least=512))
# How an answer is continued: "ask" adds a request to go on; "prefill" ends with the cut answer.
COMPLETIONS_CONTINUE = env_choice("COMPLETIONS_CONTINUE", "ask", ("ask", "prefill"))
BUILT_IN_MODEL = env_bool("BUILT_IN_MODEL", True)
LOCAL_MODEL_PATH = env_str("LOCAL_MODEL_PATH")

FIRST_TOKEN_TIMEOUT_SECONDS = env_number("FIRST_TOKEN_TIMEOUT_SECONDS", 120, least=1)
STALL_TIMEOUT_SECONDS = env_number("STALL_TIMEOUT_SECONDS", 60, least=1)
TOTAL_TIMEOUT_SECONDS = env_number("TOTAL_TIMEOUT_SECONDS", 900, least=1)
BREAKER_FAILURES = int(env_number("BREAKER_FAILURES", 20))

RUNNER_TURNS = int(env_number("RUNNER_TURNS", 64, least=1))
GRACE_SECONDS = env_number("GRACE_SECONDS", 20)
TURNS_PER_MINUTE = int(env_number("TURNS_PER_MINUTE", 60))

# The served endpoint. 0 turns a limit off.
API_TOKEN_REQUESTS_PER_MINUTE = int(env_number("API_TOKEN_REQUESTS_PER_MINUTE", 3000))
API_ORGANIZATION_REQUESTS_PER_MINUTE = int(env_number("API_ORGANIZATION_REQUESTS_PER_MINUTE", 6000))
API_MAX_BODY_BYTES = int(env_number("API_MAX_BODY_BYTES", 4 * 1024 * 1024, least=1024))


def drop_refusals_traceback(record: logging.LogRecord) -> bool:
    """Keep the line of a 403 or 404, without the stack of the code that rightly refused."""
    if record.levelno < logging.ERROR:
        record.exc_info = None
    return True


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {
        "refusals in a line": {
            "()": "django.utils.log.CallbackFilter",
            "callback": drop_refusals_traceback,
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env_str("LOG_LEVEL", "INFO").upper()},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"filters": ["refusals in a line"]},
        "django.server": {"handlers": [], "level": "WARNING", "propagate": True},
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "asyncio": {"level": "WARNING"},
    },
}
