"""Every resource that some supported versions have; prints what the application sees, or that there is no such thing.

Each part asks for a model (or an index, or a response) of its own name, so that its spans can be told from the others.
"""

import io
import os


def show(part, value):
    dumped = value.model_dump() if hasattr(value, "model_dump") else value
    print(part, type(value).__name__, dumped, flush=True)


def sound():
    return ("a.wav", io.BytesIO(b"RIFF"))


def completions(client, part):
    show(part, client.completions.create(model=part, prompt="one two"))
    for chunk in client.completions.create(model=part, prompt="one two", stream=True):
        show(part, chunk)


def images(client, part):
    show(part, client.images.generate(model=part, prompt="a fox", n=2))
    show(part, client.images.edit(model=part, prompt="a hare", image=sound()))
    show(part, client.images.create_variation(model=part, image=sound()))


def streamed_images(client, part):
    for event in client.images.generate(model=part, prompt="a fox", stream=True, partial_images=2):
        show(part, event)


def audio(client, part):
    print(part, len(client.audio.speech.create(model=part, input="say", voice="alloy").read()))
    with client.audio.speech.with_streaming_response.create(model=part, input="say", voice="alloy") as response:
        print(part, sum(map(len, response.iter_bytes())))
    show(part, client.audio.transcriptions.create(model=part, file=sound()))
    show(part, client.audio.translations.create(model=part, file=sound()))
    raw = client.audio.transcriptions.with_raw_response.create(model=part, file=sound())
    print(part, raw.status_code)


def streamed_audio(client, part):
    for event in client.audio.transcriptions.create(model=part, file=sound(), stream=True):
        show(part, event)


def moderations(client, part):
    show(part, client.moderations.create(model=part, input=["peace", "harm"]))


def runs(client, part):
    show(part, client.beta.threads.runs.create(thread_id="thread_1", assistant_id="asst_1", model=part))
    for event in client.beta.threads.create_and_run(assistant_id="asst_1", model=part, stream=True):
        print(part, event.event)


def posts(client, part):
    show(part, client.post("/moderations", cast_to=object, body={"model": part, "input": "x"}))


def search(client, part):
    for found in client.vector_stores.search(part, query="where", max_num_results=2):
        show(part, found)


def background(client, part):
    begun = client.responses.create(model=part, input="x", extra_body={"background": True})
    print(part, begun.status)


def decisions(client, part):
    show(part, client.decisions.create(model=part, input="x", questions=[]))


def videos(client, part):
    show(part, client.videos.create(model=part, prompt="a fox"))


def _talk(connection, part):
    connection.response.create()
    for event in connection:
        print(part, event.type, flush=True)
        if event.type == "response.done":
            break


def realtime(client, part):
    with client.realtime.connect(model=part) as connection:
        _talk(connection, part)


def beta_realtime(client, part):
    with client.beta.realtime.connect(model=part) as connection:
        _talk(connection, part)


def responses_socket(client, part):
    with client.responses.connect() as connection:
        connection.response.create(model=part, input="x")
        for event in connection:
            print(part, event.type)
            if event.type == "response.completed":
                break


PARTS = (completions, images, audio, moderations, posts, runs, streamed_images, streamed_audio, search, background,
         decisions, videos, realtime, beta_realtime, responses_socket)


def run(client):
    talking = client
    if hasattr(client, "websocket_base_url"):
        talking = client.with_options(websocket_base_url=os.environ["MATRIX_SOCKETS"])
    for part in PARTS:
        name = f"part_{part.__name__}"
        try:
            part(talking, name)
        except (AttributeError, TypeError) as error:  # an older version has no such resource, or no such argument
            print("absent:", name, type(error).__name__)
