// The embeddings view's texts.

export const strings = {
  en: {
    "embeddings.model": "Embedding model",
    "embeddings.texts": "Texts, one a line",
    "embeddings.texts.count": "{count} of at most {limit} texts",
    "embeddings.texts.over": "{count} texts: more than the {limit} that one request takes",
    "embeddings.texts.none": "Write at least one text.",
    "embeddings.example":
      "How do I reset my password?\nI cannot sign in to my account\nWhere is my order?\n" +
      "The parcel has not arrived yet\nWhen will my package be delivered?\nI want my money back\nHow do I return shoes that do not fit?\n" +
      "The app crashes when I open it\nThe screen stays black after the update\nDo you have vegetarian dishes?\n" +
      "Which wine goes with fish?\nBook a table for four on Friday",
    "embeddings.text": "Text",

    "embeddings.side": "Side of a search",
    "embeddings.side.none": "As they are",
    "embeddings.side.query": "query",
    "embeddings.side.document": "document",
    "embeddings.side.all_query": "All are queries",
    "embeddings.side.all_document": "All are documents",
    "embeddings.side.mixed": "Lines that begin with “? ” are queries, the others documents",
    "embeddings.side.prompt": "Prompt “{name}”",
    "embeddings.side.adds": "{model} puts this before a {side}: “{prompt}”",
    "embeddings.side.adds_nothing": "{model} puts nothing before a {side}.",
    "embeddings.side.two": "Queries and documents are sent as two requests, because input_type applies to a whole request.",
    "embeddings.instruction": "Instruction (optional)",
    "embeddings.run": "Embed",

    "embeddings.result": "Vectors",
    "embeddings.summary": "{count} texts · {dimensions} dimensions · {tokens} tokens",
    "embeddings.warnings.more": "and {count} more warnings",
    "embeddings.of": "The request for {side}",
    "embeddings.sides.query": "queries",
    "embeddings.sides.document": "documents",
    "embeddings.download": "Download the vectors",
    "embeddings.download.json": "JSON",
    "embeddings.download.csv": "CSV",
    "embeddings.download.note":
      "{width} of {whole} dimensions, every number exact. In the CSV a text that a spreadsheet would take for a " +
      "formula gets an apostrophe before it.",
    "embeddings.download.done": "{name} saved.",

    "embeddings.width": "Dimensions",
    "embeddings.width.lead":
      "The page truncates the vectors and normalizes them again, as the service does for “dimensions”. Everything " +
      "below uses the truncated vectors.",
    "embeddings.width.exact": "Exact number of dimensions",
    "embeddings.width.trained": "{width}, trained for",
    "embeddings.width.all": "All {width}",
    "embeddings.width.untrained": "{model} was not trained for shorter vectors (Matryoshka); neighbours may be worse.",
    "embeddings.width.between": "{model} was trained for {widths}; other widths may be worse.",
    "embeddings.width.k": "Neighbours",
    "embeddings.width.kept": "Of each text's {k} nearest by all dimensions, {share} % are kept on average.",
    "embeddings.width.computing": "Computing …",

    "embeddings.neighbours": "Nearest texts",
    "embeddings.neighbours.chosen": "Text, by its number",
    "embeddings.neighbours.search": "Find by number or words",
    "embeddings.neighbours.more": "{shown} of {count} texts are listed: search for the others.",
    "embeddings.neighbours.of": "Nearest to {number}",
    "embeddings.neighbours.rank": "Rank",
    "embeddings.neighbours.was": "Change",
    "embeddings.neighbours.cosine": "Cosine",
    "embeddings.neighbours.same": "same",
    "embeddings.neighbours.up": "▲ from {rank}",
    "embeddings.neighbours.down": "▼ from {rank}",
    "embeddings.neighbours.dropped": "out, was {rank}",
    "embeddings.neighbours.alone": "There is no other text to be near to.",

    "embeddings.map": "Map",
    "embeddings.map.label": "Map of {count} texts; arrow keys go from text to text",
    "embeddings.map.horizontal": "→ First principal component: {share} % of the variance",
    "embeddings.map.vertical": "↑ Second principal component: {share} % of the variance",
    "embeddings.map.hover": "Point at a text, or choose it, to read it whole.",
    "embeddings.map.help":
      "Keys: arrows to the nearest text in a direction, Page Up and Page Down by number, Enter chooses. Texts that " +
      "are far apart here are far apart; texts that seem near may differ in what the two components leave out.",
    "embeddings.map.unlabelled": "{count} texts have no room for a label: point at them, or find them in the list.",
    "embeddings.map.queries": "◆ query   ● document",

    "embeddings.matrix": "Similarity",
    "embeddings.matrix.picture": "Heat map",
    "embeddings.matrix.as_table": "Table",
    "embeddings.matrix.view": "Show as",
    "embeddings.matrix.cosine": "Cosine",
    "embeddings.matrix.label": "Heat map of {count} by {count} cosines; arrow keys go from cell to cell",
    "embeddings.matrix.table": "Cosines between texts",
    "embeddings.matrix.hover": "Point at a cell to see its two texts.",
    "embeddings.matrix.help": "Keys: arrows move, Home and End go to the ends of a row, Enter chooses the row's text.",
    "embeddings.matrix.pair": "between {first} and {second}",
    "embeddings.matrix.spoken": "{first} and {second}: {cosine}. {text}",
    "embeddings.matrix.limited":
      "{shown} of {count} texts fit legibly. The map, the neighbours and the downloads have all of them.",
    "embeddings.matrix.limited_table":
      "A table of {shown} of {count} texts. The map, the neighbours and the downloads have all of them.",
    "embeddings.matrix.from": "First text shown",
  },
  ja: {
    "embeddings.model": "埋め込みモデル",
    "embeddings.texts": "テキスト (1 行に 1 件)",
    "embeddings.texts.count": "{count} 件 (上限 {limit} 件)",
    "embeddings.texts.over": "{count} 件: 1 リクエストの上限 {limit} 件を超えています",
    "embeddings.texts.none": "テキストを 1 件以上入力してください。",
    "embeddings.example":
      "パスワードを再設定するにはどうすればよいですか\nアカウントにログインできません\n注文した商品は今どこにありますか\n" +
      "荷物がまだ届きません\n配達はいつになりますか\n返金してほしい\nサイズの合わない靴を返品したい\n" +
      "アプリを開くと強制終了する\nアップデート後に画面が真っ暗なままになる\nベジタリアン向けの料理はありますか\n" +
      "魚料理に合うワインはどれですか\n金曜日に 4 名で予約したい",
    "embeddings.text": "テキスト",

    "embeddings.side": "検索での役割",
    "embeddings.side.none": "そのまま (指定なし)",
    "embeddings.side.query": "クエリ",
    "embeddings.side.document": "文書",
    "embeddings.side.all_query": "すべてクエリ",
    "embeddings.side.all_document": "すべて文書",
    "embeddings.side.mixed": "「? 」で始まる行はクエリ、それ以外は文書",
    "embeddings.side.prompt": "プロンプト「{name}」",
    "embeddings.side.adds": "{model} が{side}の前に付けるもの: 「{prompt}」",
    "embeddings.side.adds_nothing": "{model} は{side}の前に何も付けません。",
    "embeddings.side.two": "input_type はリクエスト単位のため、クエリと文書を 2 つのリクエストに分けて送信します。",
    "embeddings.instruction": "指示文 (任意)",
    "embeddings.run": "ベクトル化",

    "embeddings.result": "ベクトル",
    "embeddings.summary": "{count} 件 · {dimensions} 次元 · {tokens} トークン",
    "embeddings.warnings.more": "他に {count} 件の警告",
    "embeddings.of": "{side}のリクエスト",
    "embeddings.sides.query": "クエリ",
    "embeddings.sides.document": "文書",
    "embeddings.download": "ベクトルをダウンロード",
    "embeddings.download.json": "JSON",
    "embeddings.download.csv": "CSV",
    "embeddings.download.note":
      "{whole} 次元のうち {width} 次元。数値は丸めずに出力します。CSV では、表計算ソフトが数式とみなすテキストの先頭に" +
      "アポストロフィを付けます。",
    "embeddings.download.done": "{name} を保存しました。",

    "embeddings.width": "次元数",
    "embeddings.width.lead":
      "ページ側でベクトルを切り詰め、長さ 1 に正規化し直します。結果は dimensions を指定した場合のサービスの応答と一致し、" +
      "以下の表示すべてに反映されます。",
    "embeddings.width.exact": "次元数 (数値で指定)",
    "embeddings.width.trained": "{width} (学習済み)",
    "embeddings.width.all": "全 {width} 次元",
    "embeddings.width.untrained":
      "{model} は次元の切り詰め (Matryoshka) を前提に学習されていないため、近傍の精度が下がります。",
    "embeddings.width.between": "{model} が学習した次元数は {widths} です。それ以外では精度が下がることがあります。",
    "embeddings.width.k": "近傍の数",
    "embeddings.width.kept": "全次元での上位 {k} 件の近傍のうち、平均 {share} % が維持されています。",
    "embeddings.width.computing": "計算中…",

    "embeddings.neighbours": "近いテキスト",
    "embeddings.neighbours.chosen": "テキスト (番号順)",
    "embeddings.neighbours.search": "番号または語句で検索",
    "embeddings.neighbours.more": "{count} 件中 {shown} 件を表示しています。他は検索してください。",
    "embeddings.neighbours.of": "{number} に近いテキスト",
    "embeddings.neighbours.rank": "順位",
    "embeddings.neighbours.was": "順位の変化",
    "embeddings.neighbours.cosine": "コサイン",
    "embeddings.neighbours.same": "変化なし",
    "embeddings.neighbours.up": "▲ {rank} 位から",
    "embeddings.neighbours.down": "▼ {rank} 位から",
    "embeddings.neighbours.dropped": "圏外 ({rank} 位から)",
    "embeddings.neighbours.alone": "比較する他のテキストがありません。",

    "embeddings.map": "マップ",
    "embeddings.map.label": "{count} 件のテキストのマップ。矢印キーでテキスト間を移動します",
    "embeddings.map.horizontal": "→ 第 1 主成分: 分散の {share} %",
    "embeddings.map.vertical": "↑ 第 2 主成分: 分散の {share} %",
    "embeddings.map.hover": "点にポインターを合わせるか選択すると、全文を表示します。",
    "embeddings.map.help":
      "キー操作: 矢印でその方向の最も近いテキストへ、Page Up と Page Down で番号順に移動、Enter で選択。マップ上で離れている" +
      "テキストは実際にも離れていますが、近くに見えても、2 つの主成分に表れない違いがあることがあります。",
    "embeddings.map.unlabelled":
      "{count} 件はラベルを表示する余地がありません。点にポインターを合わせるか、一覧で確認してください。",
    "embeddings.map.queries": "◆ クエリ   ● 文書",

    "embeddings.matrix": "類似度",
    "embeddings.matrix.picture": "ヒートマップ",
    "embeddings.matrix.as_table": "表",
    "embeddings.matrix.view": "表示形式",
    "embeddings.matrix.cosine": "コサイン",
    "embeddings.matrix.label": "{count} × {count} のコサイン類似度のヒートマップ。矢印キーでセル間を移動します",
    "embeddings.matrix.table": "テキスト間のコサイン類似度",
    "embeddings.matrix.hover": "セルにポインターを合わせると、対応する 2 つのテキストを表示します。",
    "embeddings.matrix.help": "キー操作: 矢印で移動、Home と End で行の両端へ、Enter で行のテキストを選択。",
    "embeddings.matrix.pair": "{first} と {second}",
    "embeddings.matrix.spoken": "{first} と {second}: {cosine}。{text}",
    "embeddings.matrix.limited":
      "読み取れる大きさで表示できるのは {count} 件中 {shown} 件です。マップ、近傍、ダウンロードには全件が含まれます。",
    "embeddings.matrix.limited_table":
      "{count} 件中 {shown} 件を表にしています。マップ、近傍、ダウンロードには全件が含まれます。",
    "embeddings.matrix.from": "先頭に表示するテキスト",
  },
};
