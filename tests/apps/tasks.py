"""A Celery application whose broker is a folder; a task asks the model."""

import os

import openai
from celery import Celery

folder = os.environ["TASKS_FOLDER"]
app = Celery("tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": folder, "data_folder_out": folder, "control_folder": folder},
    worker_hijack_root_logger=False,
)


@app.task
def ask(question: str) -> None:
    with openai.OpenAI() as client:
        client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": question}])
