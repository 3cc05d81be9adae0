"""The text for training all tiny vocabularies: English, Japanese and a few other languages.

Small enough to train a sentencepiece model in less than a second, and large enough that the tests' sentences consist
of known pieces.
"""

ENGLISH: tuple[str, ...] = (
    "Which planet is known as the Red Planet?",
    "Venus is often called Earth's twin because of its similar size and proximity.",
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "Jupiter, the largest planet in our solar system, has a prominent red spot.",
    "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
    "The capital of Japan is Tokyo, and the capital of France is Paris.",
    "What is the capital of China? Beijing is the capital of China.",
    "How do I reset my password? Open the settings page and choose a new password.",
    "Our company was founded in 1998 and now has 250 people in five offices.",
    "Organic skincare products for sensitive skin with aloe vera and honey.",
    "A quick brown fox jumps over the lazy dog near the river bank.",
    "Represent this sentence for searching relevant passages: how to bake bread at home",
    "Given a web search query, retrieve relevant passages that answer the query",
    "Judge whether the document meets the requirements based on the query and the instruct provided.",
    'Note that the answer can only be "yes" or "no". yes no yes no Yes No',
    "query: how much protein should a female eat passage: about 46 grams per day",
    "search_query: deep learning search_document: neural networks learn from data",
    "task: search result | query: title: none | text: ",
    "Machine learning models turn text into vectors, and similar texts are close to each other.",
    "The server returns an error when the request body is too large for the model.",
    "She sells sea shells by the sea shore, and he drinks green tea every morning.",
    "Berlin is in Germany; London is in the United Kingdom; New York is a city in America.",
    "The weather is cold in winter and hot in summer; it rains a lot in June.",
    "Implement quick sort in Python: def sort(items): return sorted(items)",
    "Introduction of quick sort, merge sort and other algorithms with examples.",
    "This text is about music, dance, sport, science, history, law, food and health.",
    "I love you. He is happy. They are sad. We were there. It was good, not bad.",
)

JAPANESE: tuple[str, ...] = (
    "日本の首都は東京です。フランスの首都はパリです。",
    "火星は赤い惑星として知られています。木星は太陽系で最大の惑星です。",
    "土星は美しい環を持つ惑星として有名です。金星は地球と似た大きさです。",
    "パスワードを忘れた場合は、設定画面から再発行してください。",
    "瑠璃色はどんな色ですか?瑠璃色は紫みを帯びた濃い青です。",
    "クエリ: 文章: 検索クエリ: 検索文書: トピック: 質問 回答",
    "機械学習は大量のデータから規則を学ぶ技術である。",
    "文章を数字の並びに変えて、意味の近さを計算します。",
    "今日は天気が良いので、友達と公園へ散歩に行きました。",
    "昨日の夜は雨が降っていたが、朝には止んでいた。",
    "美味しいコーヒーの入れ方を教えてください。お湯の温度が大切です。",
    "京都には古い寺や神社がたくさんあり、秋の紅葉が有名です。",
    "会社の売上は前年より十パーセント増え、利益も過去最高となった。",
    "犬が庭を走り回り、猫は窓の近くで眠っている。",
    "新しい電車が駅に着くと、多くの人が乗り降りした。",
    "先生は学生に本を読むように言った。学校の図書館は静かです。",
    "東北大学で自然言語処理の研究をしています。",
    "富士山は日本で一番高い山で、高さは三七七六メートルです。",
    "子どもの頃、海の見える町に住んでいました。",
    "プログラムを実行すると、エラーが表示されて動かない。",
    "肌にやさしい化粧水と、自然な材料で作った石けんを探しています。",
    "この料理は野菜と肉を煮て、最後に塩と砂糖で味を整えます。",
)

OTHER: tuple[str, ...] = (
    "中国的首都在哪儿?北京是中国的首都。",
    "快速排序算法的实现方法和例子。",
    "Die Hauptstadt von Deutschland ist Berlin, und das Wetter ist schön.",
    "La capitale de la France est Paris, où il fait très beau en été.",
    "El planeta rojo es Marte y la capital de España es Madrid.",
    "대한민국의 수도는 서울입니다.",
    "Столица России - Москва.",
    "عاصمة مصر هي القاهرة",
)

LINES: tuple[str, ...] = ENGLISH + JAPANESE + OTHER

KANA = "".join(map(chr, (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7), 0x30FC)))
"""All hiragana and katakana letters and the long-vowel mark, so that Japanese texts have no unknown tokens."""

FULL_WIDTH = (
    "ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ"
    "ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ０１２３４５６７８９！？（）：％"
)
"""Characters that NFKC folds to ASCII: only in vocabularies without folding."""

ASCII = "".join(map(chr, range(0x21, 0x7F)))


def letters() -> list[str]:
    """All characters of the corpus, of kana, ASCII and the full-width forms, in code-point order."""
    return sorted(set("".join(LINES)) - {" "} | set(KANA) | set(FULL_WIDTH) | set(ASCII))
