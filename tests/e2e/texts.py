"""200 texts of mixed length and script, from a seed."""

import random

from tests.tiny import corpus

CODE = (
    "def sort(items):\n    return sorted(items, key=lambda item: (-len(item), item))\n",
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY name HAVING COUNT(*) > 1;",
    '{"query": "text", "top_n": 3, "nested": [[1, 2.5e-3], {"ключ": null}]}',
    "for (let i = 0; i < n; ++i) { total += a[i] ?? 0; } // 合計\r\n",
)
EMOJI = ("😀", "🎉🎊", "👨‍👩‍👧‍👦 family", "🇯🇵🇫🇷", "I ❤️ NY 🗽", "🤷🏽‍♀️")
ODD = (
    " ",
    "\t\n",
    "\u3000",
    "\u200b",
    ".",
    "?!",
    "ﬁ ligature",
    "naïve café Ångström",
    "ＦＵＬＬ　ＷＩＤＴＨ",
    "ｶﾀｶﾅ",
    "\u202eright to left",
)
SCRIPTS = (
    "Привет, мир",
    "مرحبا بالعالم",
    "שלום עולם",
    "你好,世界",
    "안녕하세요 세계",
    "Γειά σου Κόσμε",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
)
SENTENCES = (*corpus.ENGLISH, *corpus.JAPANESE, *CODE, *EMOJI, *SCRIPTS)


def mixed_texts(count: int = 200, *, seed: int = 7) -> list[str]:
    """Distinct texts, from one sentence to more than 768 tokens; unusual ones come first."""
    pick = random.Random(seed)
    texts = list(dict.fromkeys((*ODD, *EMOJI, *CODE, *SCRIPTS)))
    while len(texts) < count:
        sentences = pick.choices(SENTENCES, k=pick.choice((1, 1, 1, 2, 3, 5, 8, 45)))
        text = " ".join(sentences)
        if text not in texts:
            texts.append(text)
    return texts


def random_batches(count: int, *, seed: int) -> list[list[int]]:
    """The indices 0 to count - 1, shuffled and divided into batches of 1 to 40."""
    pick = random.Random(seed)
    order = pick.sample(range(count), count)
    batches = []
    while order:
        size = pick.randint(1, 40)
        batches.append(order[:size])
        order = order[size:]
    return batches
