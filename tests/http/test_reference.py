"""The gateway has exactly the methods and signatures that its reference documents."""

import inspect
import socket
from typing import Any, Callable, Optional, Union  # noqa: UP035 - as the reference spells them

import pytest

import duck.http.core.asgi
import duck.http.core.proxyhandler
import duck.http.request
import duck.http.request_data
import duck.http.response
import duck.utils.xsocket
from duck.http.core.asgi import ASGI
from duck.http.core.processor import AsyncRequestProcessor
from duck.http.core.proxyhandler import HttpProxyResponse
from duck.http.core.wsgi import WSGI
from duck.http.request import HttpRequest
from duck.http.request_data import RequestData
from duck.http.response import HttpResponse
from duck.utils.xsocket import ssl_xsocket, xsocket

REFERENCE = {
    "__init__": "(self, settings: Dict[str, Any])",
    "__call__": (
        "(self, application, client_socket: socket.socket, client_address: Tuple[str, int], "
        "request_data: duck.http.request_data.RequestData) -> Optional[duck.http.request.HttpRequest]"
    ),
    "apply_middlewares_to_response": "(self, response, request)",
    "django_apply_middlewares_to_response": (
        "(self, response: duck.http.core.proxyhandler.HttpProxyResponse, request)"
    ),
    "finalize_response": "(self, response, request: Optional[duck.http.request.HttpRequest] = None)",
    "get_request": (
        "(client_socket: duck.utils.xsocket.xsocket, client_address: Tuple[str, int], "
        "request_data: duck.http.request_data.RequestData) -> duck.http.request.HttpRequest"
    ),
    "get_response": "(self, request: duck.http.request.HttpRequest) -> duck.http.response.HttpResponse",
    "handle_django_connection_upgrade": (
        "(self, upgrade_request: duck.http.request.HttpRequest, "
        "upgrade_response: duck.http.core.proxyhandler.HttpProxyResponse, "
        "protocol_receive_timeout: Union[int, float] = 10, protocol_receive_buffer: int = 4096)"
    ),
    "produce_final_response_failsafe": (
        "(self, request: duck.http.request.HttpRequest, response_producer_callable: Callable, "
        "processor: Optional[AsyncRequestProcessor] = None) -> duck.http.response.HttpResponse"
    ),
    "send_response": (
        "(self, response, client_socket: duck.utils.xsocket.xsocket, "
        "request: Optional[duck.http.request.HttpRequest] = None, disable_logging: bool = False)"
    ),
    "start_response": (
        "(self, request: duck.http.request.HttpRequest, response: Optional[duck.http.response.HttpResponse] = None)"
    ),
}

NAMES = {
    "Any": Any,
    "AsyncRequestProcessor": AsyncRequestProcessor,
    "Callable": Callable,
    "Dict": dict,
    "HttpProxyResponse": HttpProxyResponse,
    "HttpRequest": HttpRequest,
    "HttpResponse": HttpResponse,
    "Optional": Optional,
    "RequestData": RequestData,
    "Tuple": tuple,
    "Union": Union,
    "duck": duck,
    "socket": socket,
    "xsocket": xsocket,
}


def documented(text: str) -> inspect.Signature:
    """The signature that `text` writes."""
    arguments, _, result = text.partition(" -> ")
    made: dict[str, Any] = {}
    exec(f"def method{arguments}{' -> ' + result if result else ''}: ...", NAMES, made)
    return inspect.signature(made["method"])


def shape(signature: inspect.Signature) -> list[Any]:
    """Names, kinds, defaults and meant types; what is not annotated counts as any."""

    def meant(annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        return eval(annotation, NAMES) if isinstance(annotation, str) else annotation

    parameters = [(one.name, one.kind, one.default, meant(one.annotation)) for one in signature.parameters.values()]
    return [*parameters, meant(signature.return_annotation)]


@pytest.mark.parametrize("name", REFERENCE)
def test_a_method_has_the_signature_of_the_reference(name):
    assert shape(inspect.signature(getattr(ASGI, name))) == shape(documented(REFERENCE[name]))


@pytest.mark.parametrize("name", [name for name in REFERENCE if name != "__init__"])
def test_every_step_is_awaited(name):
    assert inspect.iscoroutinefunction(getattr(ASGI, name))


def test_get_request_is_static():
    assert isinstance(inspect.getattr_static(ASGI, "get_request"), staticmethod)


def test_the_gateway_for_threads_has_the_same_steps():
    for name in REFERENCE:
        names = [one.name for one in inspect.signature(getattr(WSGI, name)).parameters.values()]
        assert names == [one.name for one in documented(REFERENCE[name]).parameters.values()]
        assert not inspect.iscoroutinefunction(getattr(WSGI, name))


def test_the_public_paths_of_the_reference_lead_somewhere():
    assert issubclass(ssl_xsocket, xsocket)
    assert duck.http.core.asgi.ASGI is ASGI
    assert issubclass(HttpProxyResponse, HttpResponse)
