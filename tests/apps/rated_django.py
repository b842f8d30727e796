"""A Django project in one file, for WSGI (`app`) and ASGI (`asgi`), with every kind of answer."""

import sys

import django
import openai
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import include, path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="test", DEBUG=False, MIDDLEWARE=[])
client = openai.OpenAI()


def ask(question: str) -> str:
    told = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-test", messages=told).choices[0].message.content or ""


def plain(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"answer": ask("Hi")})


async def awaited(_request: HttpRequest) -> HttpResponse:
    async with openai.AsyncOpenAI() as patient:
        done = await patient.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "Hi"}])
    return JsonResponse({"answer": done.choices[0].message.content})


def twice(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"answers": [ask("one"), ask("two")]})


def _parts(form: str):
    told = [{"role": "user", "content": "Hi"}]
    for chunk in client.chat.completions.create(model="gpt-test", messages=told, stream=True):
        if chunk.choices:
            yield form.format(chunk.choices[0].delta.content or "")


def streamed(_request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(_parts("{}"), content_type="text/plain")


def events(_request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(_parts("data: {}\n\n"), content_type="text/event-stream")


async def agenerated(_request: HttpRequest) -> HttpResponse:
    async def parts():
        told = [{"role": "user", "content": "Hi"}]
        async with openai.AsyncOpenAI() as patient:
            chunks = await patient.chat.completions.create(model="gpt-test", messages=told, stream=True)
            async for chunk in chunks:
                if chunk.choices:
                    yield f"data: {chunk.choices[0].delta.content or ''}\n\n"

    return StreamingHttpResponse(parts(), content_type="text/event-stream")


def none(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("no model here")


def export(_request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse(iter(["a,b\n", "1,2\n"]), content_type="text/csv")


def cached(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"answer": ask("Hi")}, headers={"Cache-Control": "public, max-age=60"})


def refused(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"answer": ask("Hi")}, status=403)


def broken(_request: HttpRequest) -> HttpResponse:
    ask("Hi")
    raise RuntimeError("broken on purpose")


_views = {"ask": plain, "await": awaited, "twice": twice, "stream": streamed, "events": events, "none": none,
          "aevents": agenerated, "export": export, "cached": cached, "refused": refused, "broken": broken}
_patterns = [path(name, view) for name, view in _views.items()]
urlpatterns = [*_patterns, path("sub/", include(([path("ask", plain)], "sub")))]
django.setup()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    sys.modules.setdefault("rated_django", sys.modules["__main__"])
    execute_from_command_line(sys.argv)
else:
    app, asgi = get_wsgi_application(), get_asgi_application()
