// Texts of lines_field.js and reading_notes.js.

export const strings = {
  en: {
    "lines.choose": "Choose a file …",
    "lines.hint": "or drop one here: .txt (one a line), .csv, .tsv or .jsonl, up to {max} texts.",
    "lines.reading": "Reading {name} …",
    "lines.pasted": "Pasted text",
    "lines.further": "… and {count} more.",
    "lines.remove": "Remove",
    "lines.edit": "Edit as lines",
    "lines.leftOut":
      "There are {found}, and the service takes {max} in one request: the first {max} are used, {leftOut} are left out.",
    "lines.empty": "Empty ones, skipped: {count}",
    "lines.file.type": "{name} cannot be read: it must be a .txt, .csv, .tsv or .jsonl file.",
    "lines.file.size": "{name} has {size}; a request may have {limit}. Split the file.",
    "lines.file.closed": "{name} cannot be opened: it may have been moved, or be a folder.",
    "lines.file.binary": "{name} is not a text file.",
    "lines.file.none": "{name} holds no text.",
    "lines.file.many": "One file at a time, please.",
    "lines.file.unreadable":
      "Lines that could not be read: {count}, the first is line {line}. A line must be a JSON string, or an object with text, passage, document or content.",
    "lines.file.unclosed": "The quote that opens on line {line} is never closed: all that follows is one cell.",
    "lines.file.wide": "Rows with more cells than the first one, which were not read: {count}",
    "lines.file.column": "Column read: {column}",
    "lines.file.first":
      "No column is called text, passage, document or content: the first of {columns} columns was read, including the first row.",
    "lines.file.encoding": "It is not UTF-8; it was read as {encoding}.",
  },
  ja: {
    "lines.choose": "ファイルを選択…",
    "lines.hint": "ここにドロップもできます。.txt (1 行 1 件)、.csv、.tsv、.jsonl に対応、最大 {max} 件。",
    "lines.reading": "{name} を読み込んでいます…",
    "lines.pasted": "貼り付けたテキスト",
    "lines.further": "…ほか {count} 件",
    "lines.remove": "取り除く",
    "lines.edit": "行として編集",
    "lines.leftOut":
      "全部で {found} 件ありますが、1 回のリクエストで送れるのは {max} 件までです。先頭の {max} 件を使い、{leftOut} 件は除外しました。",
    "lines.empty": "空のため読み飛ばしたもの: {count} 件",
    "lines.file.type": "{name} は読み込めません。.txt、.csv、.tsv、.jsonl のいずれかを選んでください。",
    "lines.file.size": "{name} は {size} あり、リクエストの上限 {limit} を超えています。ファイルを分割してください。",
    "lines.file.closed": "{name} を開けません。移動されたか、フォルダーの可能性があります。",
    "lines.file.binary": "{name} はテキストファイルではありません。",
    "lines.file.none": "{name} にはテキストがありません。",
    "lines.file.many": "ファイルは 1 つずつ選んでください。",
    "lines.file.unreadable":
      "読み取れなかった行: {count} 行 (最初は {line} 行目)。各行は JSON の文字列か、text、passage、document、content のいずれかを持つオブジェクトにしてください。",
    "lines.file.unclosed": "{line} 行目で始まる引用符が閉じられていません。以降はすべて 1 つのセルとして扱いました。",
    "lines.file.wide": "先頭行よりセルが多い行 (余分なセルは読んでいません): {count} 行",
    "lines.file.column": "読み込んだ列: {column}",
    "lines.file.first":
      "text、passage、document、content という名前の列がないため、{columns} 列のうち先頭の列を 1 行目から読み込みました。",
    "lines.file.encoding": "UTF-8 ではないため、{encoding} として読み込みました。",
  },
};
