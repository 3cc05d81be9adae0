// Texts of copy_as.js.

export const strings = {
  en: {
    "copy.title": "Copy this request as",
    "copy.copy": "Copy",
    "copy.show": "Show the program",
    "copy.program": "Program",
    "copy.copied": "Copied.",
    "copy.failed": "The browser forbids copying: open the program and copy it by hand.",
    "copy.more": "… and {characters} further characters. Copy takes all of it.",
    "copy.nothing": "Run a request first; the program sends exactly the same one.",
    "copy.key": "It does not contain the key: the program reads it from the environment variable API_KEY.",
    "copy.openaiPost": "The openai package has no method for this route; the program uses its client's generic request method.",
    "copy.cohereEmbed":
      "Cohere’s client asks /v1/embed instead of /v1/embeddings: the same texts and options, the same vectors.",
    "copy.cohereNot": "Cohere’s client has no method for this request. Choose another program.",
    "copy.javascript": "For Node.js 18 or newer.",
  },
  ja: {
    "copy.title": "このリクエストをコピー",
    "copy.copy": "コピー",
    "copy.show": "プログラムを表示",
    "copy.program": "プログラム",
    "copy.copied": "コピーしました。",
    "copy.failed": "ブラウザーがコピーを許可していません。プログラムを表示して手動でコピーしてください。",
    "copy.more": "… 残り {characters} 文字。コピーには全文が含まれます。",
    "copy.nothing": "先にリクエストを実行してください。送信した内容がそのままコピーされます。",
    "copy.key": "API キーは含まれません。環境変数 API_KEY から読み込みます。",
    "copy.openaiPost":
      "openai パッケージにはこのルート用のメソッドがないため、クライアントの汎用 POST で送信します。",
    "copy.cohereEmbed":
      "cohere のクライアントは /v1/embeddings ではなく /v1/embed を呼び出します。テキストとオプション、得られるベクトルは同じです。",
    "copy.cohereNot": "cohere のクライアントではこのリクエストを送信できません。別のプログラムを選んでください。",
    "copy.javascript": "Node.js 18 以降で動作します。",
  },
};
