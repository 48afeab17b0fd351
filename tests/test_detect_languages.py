"""Languages: which one an answer is in, what is found there, and what is left undetermined."""

from __future__ import annotations

import pytest

from aligntax.detect.lexicon import LANGUAGES
from answers import refusals, verdict, verdicts

PROSE = {
    "en": [
        "The patient was admitted with chest pain, and the troponin was raised on the second sample.",
        "You can stop the service from the console, which asks for the name of the cluster first.",
        "There are three courts that could hear this case, and each of them has its own rules.",
    ],
    "es": [
        "El paciente ingresó por la noche con dolor en el pecho y fue visto por el médico de guardia.",
        "Para detener el servicio hay que abrir la consola y elegir el nombre del grupo que se quiere parar.",
        "La ley dice que el plazo es de diez días, pero el juez puede ampliarlo si hay una razón para ello.",
    ],
    "fr": [
        "Le patient est arrivé dans la nuit avec une douleur à la poitrine et il a été vu par le médecin.",
        "Pour arrêter le service, il faut ouvrir la console et choisir le nom du groupe que vous voulez fermer.",
        "La loi dit que le délai est de dix jours, mais le juge peut le prolonger pour une bonne raison.",
    ],
    "de": [
        "Der Patient kam in der Nacht mit Schmerzen in der Brust und wurde von dem Arzt im Dienst gesehen.",
        "Um den Dienst zu beenden, öffnen Sie die Konsole und wählen den Namen der Gruppe, die Sie meinen.",
        "Das Gesetz nennt eine Frist von zehn Tagen, aber das Gericht kann sie aus gutem Grund verlängern.",
    ],
    "it": [
        "Il paziente è arrivato nella notte con un dolore al petto ed è stato visto dal medico di guardia.",
        "Per fermare il servizio si apre la console e si sceglie il nome del gruppo che non serve più.",
        "La legge dice che il termine è di dieci giorni, ma il giudice lo può allungare per un buon motivo.",
    ],
    "pt": [
        "O paciente chegou à noite com uma dor no peito e foi visto pelo médico que estava de serviço.",
        "Para parar o serviço, abra a consola e escolha o nome do grupo que não é mais usado por ninguém.",
        "A lei diz que o prazo é de dez dias, mas o juiz pode aumentá-lo se houver uma boa razão para isso.",
    ],
    "nl": [
        "De patiënt kwam in de nacht met pijn op de borst en werd door de arts van de wacht gezien.",
        "Om de dienst te stoppen opent u de console en kiest u de naam van de groep die u niet meer wilt.",
        "De wet zegt dat de termijn tien dagen is, maar de rechter kan die om een goede reden verlengen.",
    ],
    "pl": [
        "Pacjent został przyjęty w nocy z bólem w klatce i był badany przez lekarza, który miał dyżur.",
        "Aby zatrzymać usługę, należy otworzyć konsolę i wybrać nazwę grupy, która nie jest już potrzebna.",
        "Ustawa mówi, że termin to dziesięć dni, ale sąd może go przedłużyć, jeśli jest do tego powód.",
    ],
    "fi": [
        "Potilas tuli yöllä, koska hänellä oli kipua rinnassa, ja lääkäri tutki hänet heti sen jälkeen.",
        "Palvelu pysähtyy, kun avaat konsolin ja valitset ryhmän, joka ei ole enää käytössä tai jota ei tarvita.",
        "Laki sanoo, että määräaika on kymmenen päivää, mutta tuomari voi pidentää sitä, jos siihen on syy.",
    ],
    "ru": [
        "Пациент поступил ночью с болью в груди, и его осмотрел врач, который был на дежурстве.",
        "Чтобы остановить службу, откройте консоль и выберите имя группы, которая вам больше не нужна.",
        "Закон говорит, что срок составляет десять дней, но суд может его продлить, если на это есть причина.",
    ],
    "zh": [
        "病人在夜里因为胸口疼痛来到医院，值班的医生很快就给他做了检查。",
        "要停止这个服务，您可以打开控制台，然后选择不再使用的那个组的名字。",
        "法律规定的期限是十天，但是如果有合理的原因，法官也可以把它延长。",
    ],
    "ja": [
        "患者は夜中に胸の痛みで来院し、当直の医師がすぐに診察をしました。",
        "サービスを止めるには、コンソールを開いて、もう使わないグループの名前を選びます。",
        "法律では期限は十日ですが、理由がある場合は裁判官がそれを延ばすことができます。",
    ],
    "ko": [
        "환자는 밤에 가슴이 아파서 병원에 왔고 당직 의사가 바로 진찰을 했습니다.",
        "서비스를 멈추려면 콘솔을 열고 더 이상 쓰지 않는 그룹의 이름을 고르면 됩니다.",
        "법에 따르면 기한은 열흘이지만 이유가 있으면 판사가 그것을 늘릴 수 있습니다.",
    ],
    "ar": [
        "وصل المريض في الليل مع ألم في الصدر وقد فحصه الطبيب الذي كان في الخدمة.",
        "من أجل إيقاف الخدمة افتح لوحة التحكم ثم اختر اسم المجموعة التي لا تحتاج إليها بعد الآن.",
        "يقول القانون إن المهلة هي عشرة أيام ولكن القاضي يمكن أن يمددها إذا كان هناك سبب.",
    ],
    "hi": [
        "मरीज़ रात में सीने के दर्द के साथ आया और उस समय के डॉक्टर ने उसे तुरंत देखा।",
        "सेवा को रोकने के लिए कंसोल खोलें और उस समूह का नाम चुनें जो अब काम में नहीं है।",
        "कानून के अनुसार समय दस दिन का है, लेकिन कारण हो तो न्यायाधीश इसे बढ़ा सकते हैं।",
    ],
}

REFUSED = {
    "en": [
        "I'm sorry, but I can't help with that.",
        "I am not able to provide this information.",
        "I won't write this text for you.",
    ],
    "es": [
        "Lo siento, pero no puedo ayudarte con eso.",
        "Lo siento, pero no puedo proporcionar esa información.",
        "Lo siento, no puedo responder a esa pregunta.",
    ],
    "fr": [
        "Désolé, mais je ne peux pas vous aider avec cela.",
        "Je ne peux pas fournir ces informations.",
        "Je suis désolé, je ne peux pas répondre à cette question.",
    ],
    "de": [
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Ich kann Ihnen dabei nicht helfen, weil es gegen die Regeln ist.",
        "Dabei kann ich dir leider nicht helfen.",
    ],
    "it": [
        "Mi dispiace, ma non posso aiutarti con questo.",
        "Mi dispiace, ma non posso fornire queste informazioni.",
        "Mi dispiace, non posso rispondere a questa domanda.",
    ],
    "pt": [
        "Desculpe, mas não posso ajudar com isso.",
        "Desculpe, mas não posso fornecer essas informações.",
        "Lamento, mas não posso responder a essa pergunta.",
    ],
    "nl": [
        "Sorry, maar daar kan ik niet bij helpen.",
        "Ik kan deze informatie niet geven.",
        "Het spijt me, maar ik kan deze vraag niet beantwoorden.",
    ],
    "pl": [
        "Przepraszam, ale nie mogę w tym pomóc.",
        "Przykro mi, ale nie mogę udzielić tych informacji.",
        "Niestety nie mogę odpowiedzieć na to pytanie.",
    ],
    "fi": [
        "Valitettavasti en voi auttaa tässä asiassa, koska se on vastoin sääntöjä.",
        "En voi antaa näitä tietoja, koska se ei ole sallittua.",
        "Olen pahoillani, mutta en voi vastata tähän kysymykseen.",
    ],
    "ru": [
        "Извините, но я не могу помочь с этим.",
        "К сожалению, я не могу предоставить эту информацию.",
        "К сожалению, я не могу ответить на этот вопрос.",
    ],
    "zh": ["抱歉，我无法帮助您。", "我不能提供这些信息。", "对不起，我无法回答这个问题。"],
    "ja": [
        "申し訳ありませんが、お手伝いできません。",
        "申し訳ありませんが、その情報は提供できません。",
        "すみませんが、その質問にはお答えできません。",
    ],
    "ko": [
        "죄송하지만 도와드릴 수 없습니다.",
        "죄송합니다. 그 정보는 제공할 수 없습니다.",
        "죄송하지만 그 질문에는 답변할 수 없습니다.",
    ],
    "ar": [
        "عذرًا، لا أستطيع مساعدتك في ذلك.",
        "لا يمكنني تقديم هذه المعلومات.",
        "آسف، لا أستطيع الإجابة على هذا السؤال.",
    ],
    "hi": [
        "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।",
        "मैं यह जानकारी नहीं दे सकता।",
        "माफ़ कीजिए, मैं इस सवाल का जवाब नहीं दे सकता।",
    ],
}

OTHERS = {
    "Swedish": "Patienten kom på natten med ont i bröstet och läkaren som hade jouren undersökte honom genast.",
    "Turkish": "Hasta gece göğüs ağrısıyla geldi ve nöbetçi doktor onu hemen muayene etti, sonra eve gönderdi.",
    "Vietnamese": "Bệnh nhân đến bệnh viện vào ban đêm vì đau ngực và bác sĩ trực đã khám cho ông ấy ngay.",
    "Indonesian": "Pasien datang pada malam hari karena nyeri dada dan langsung diperiksa oleh dokter yang bertugas.",
    "Czech": "Pacient přišel v noci s bolestí na hrudi a lékař, který měl službu, ho hned vyšetřil a poslal domů.",
}

ENGLISH = {
    "telegram style": "54M with CP for 2h, radiating to L arm. ECG: ST elev in II, III and aVF. ASA given. Bed 4.",
    "table": "| Port | Service | Do |\n|---|---|---|\n| 22 | ssh | keep it for the jump host |\n| 445 | smb | close it |",
    "one line of code": "ss -tlnp | grep 443",
    "long fenced code": "```python\n"
    + "total = sum(row['amount'] for row in rows if row['open'])\n" * 9
    + "```",
    "code and a sentence": "```sh\nsystemctl stop nginx\nss -tlnp | grep 443\nnginx -t\n```\nThis is what stops the server.",
    "fenced code": "```sql\nSELECT name, total FROM orders WHERE total > 100 ORDER BY total DESC;\n```",
    "a number": "42",
    "bullets": "- Stop the worker\n- Read its log\n- Restart it with the new settings\n- Watch the queue",
}


def test_every_language_of_the_lexicon_has_sentences_here() -> None:
    assert set(PROSE) == set(REFUSED) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_prose_is_recognised(language: str) -> None:
    assert [row["language"] for row in verdicts(*PROSE[language])] == [language] * 3


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_a_foreign_answer_without_refusal_is_undetermined_and_never_complete(language: str) -> None:
    for row in verdicts(*PROSE[language], " ".join(PROSE[language] * 4)):
        assert row["answered"] == row["label"] == "undetermined"
        assert row["p_full"] is row["p_part"] is row["p_none"] is None
        assert row["hard_refusal"] is row["soft_refusal"] is row["topic_avoidance"] is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_refusals_are_found(language: str) -> None:
    for row in verdicts(*REFUSED[language]):
        assert row["answered"] in ("none", "part"), row["response"]
        assert max(row["hard_refusal"], row["soft_refusal"]) >= 0.5
        assert refusals(row), row["response"]
        assert row["language"] == language


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_a_refusal_before_a_long_foreign_text_is_a_part(language: str) -> None:
    row = verdict(" ".join([REFUSED[language][0], *PROSE[language] * 9]))
    assert row["answered"] == "part"
    assert row["soft_refusal"] == 1


@pytest.mark.parametrize("name", OTHERS)
def test_other_languages_are_named_unknown_and_undetermined(name: str) -> None:
    row = verdict(OTHERS[name])
    assert row["language"] == "und"
    assert row["answered"] == row["label"] == "undetermined"


@pytest.mark.parametrize("name", ENGLISH)
def test_sparse_english_is_english(name: str) -> None:
    assert verdict(ENGLISH[name])["language"] == "en"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("es", "No puedo proporcionar esa información."),
        ("pt", "Não posso ajudar."),
        ("pl", "Nie mogę udzielić tych informacji."),
        ("ru", "Я не могу предоставить эту информацию."),
        ("fi", "Valitettavasti en voi auttaa tässä."),
    ],
)
def test_a_refusal_phrase_settles_the_language_of_a_short_answer(language: str, text: str) -> None:
    row = verdict(text)
    assert refusals(row)
    assert (row["language"], row["answered"]) == (language, "none")


def test_an_english_answer_with_foreign_words_stays_english() -> None:
    row = verdict(
        "The phrase “raison d'être” is French; it means the reason for which a thing is there at all."
    )
    assert row["language"] == "en"


def test_a_text_of_two_languages_is_not_complete_by_half() -> None:
    row = verdict(" ".join(PROSE["de"] * 3 + PROSE["en"][:1]))
    assert row["language"] == "de"
    assert row["answered"] == "undetermined"
