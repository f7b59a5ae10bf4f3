"""HTTP and websockets in one application; the runner lives and ends with it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.core.asgi import get_asgi_application

# First: it loads the applications that the imports below need.
_django = get_asgi_application()

from chatsite.lifespan import WithRuntime  # noqa: E402
from chatsite.limits import BoundedBody  # noqa: E402
from conversations.api.application import Api  # noqa: E402
from conversations.routing import websocket_urlpatterns  # noqa: E402
from organizations.sockets import SameOrigin  # noqa: E402

application = WithRuntime(
    ProtocolTypeRouter(
        {
            "http": Api(BoundedBody(_django)),
            "websocket": SameOrigin(
                SessionMiddlewareStack(URLRouter(websocket_urlpatterns))  # type: ignore[arg-type]
            ),
        }
    )
)
