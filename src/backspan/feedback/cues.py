"""What people write after an answer, by kind and language: the phrases that the rules of implicit signals look for.

Phrases are in lower case (`str.casefold`) and match whole words. ``ack`` is thanks and success, ``correction`` is
contradiction, ``error`` is what programs and their users write when something broke, ``negation`` spoils an ``ack``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CUES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType({
    "ack": {
        "en": ("thanks", "thank you", "thx", "ty", "perfect", "great", "awesome", "that works", "it works", "works now",
               "that worked", "it worked", "works", "solved", "that helps", "that helped", "got it", "makes sense"),
        "de": ("danke", "dankeschön", "vielen dank", "perfekt", "super", "klasse", "das klappt", "klappt", "geklappt",
               "funktioniert", "passt", "hat geholfen", "verstanden", "alles klar", "gelöst"),
        "fr": ("merci", "parfait", "super", "génial", "ça marche", "ca marche", "ça fonctionne", "ca fonctionne",
               "résolu", "compris", "c'est bon"),
        "es": ("gracias", "perfecto", "genial", "funciona", "funcionó", "ya funciona", "resuelto", "entendido",
               "me sirve"),
    },
    "correction": {
        "en": ("no,", "no.", "nope", "that's wrong", "that is wrong", "thats wrong", "wrong", "incorrect",
               "that's not right", "that is not right", "not right", "not correct", "that's not true",
               "not what i asked", "not what i meant", "i asked", "i meant", "i said", "you misunderstood", "actually"),
        "de": ("nein,", "nein.", "falsch", "stimmt nicht", "das ist nicht richtig", "nicht richtig", "nicht korrekt",
               "ich fragte", "ich habe gefragt", "ich meinte", "ich sagte", "nicht was ich", "missverstanden",
               "eigentlich"),
        "fr": ("non,", "non.", "c'est faux", "faux", "incorrect", "pas correct", "ce n'est pas", "c'est pas",
               "j'ai demandé", "je demandais", "je voulais dire", "mal compris", "en fait"),
        "es": ("no,", "no.", "incorrecto", "está mal", "esta mal", "es falso", "no es correcto", "no es cierto",
               "yo pregunté", "pregunté", "quería decir", "quise decir", "no entendiste", "en realidad"),
    },
    "again": {
        "en": ("again", "once more"), "de": ("nochmal", "noch einmal", "erneut"),
        "fr": ("encore une fois", "à nouveau"), "es": ("otra vez", "de nuevo"),
    },
    "error": {
        "en": ("traceback", "exception", "error", "errors", "doesn't work", "does not work", "not working",
               "didn't work", "did not work", "fails", "failed", "exit code", "segmentation fault", "stack trace",
               "undefined", "cannot find", "can't find", "no such file", "command not found", "crashes", "crashed"),
        "de": ("fehler", "fehlermeldung", "funktioniert nicht", "geht nicht", "klappt nicht", "ausnahme", "abgestürzt",
               "stürzt ab", "nicht gefunden"),
        "fr": ("erreur", "ne marche pas", "marche pas", "ne fonctionne pas", "échoue", "plante", "introuvable"),
        "es": ("no funciona", "falla", "falló", "excepción", "no se encuentra", "no encontrado"),
    },
    "negation": {
        "en": ("not", "no", "doesn't", "does not", "didn't", "isn't", "won't", "but", "still"),
        "de": ("nicht", "kein", "keine", "aber", "trotzdem", "immer noch", "nein"),
        "fr": ("pas", "ne", "mais", "toujours pas", "non"),
        "es": ("no", "pero", "todavía", "tampoco"),
    },
})
