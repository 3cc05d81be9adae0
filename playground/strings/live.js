// The live view's texts.

export const strings = {
  en: {
    "live.pause": "Pause",
    "live.resume": "Go on",
    "live.going": "Updated every second while this page is visible.",
    "live.paused": "Paused: no requests are sent.",
    "live.slow": "No response within {seconds} s; retrying.",
    "live.lost": "The service cannot be reached; retrying.",
    "live.refused": "The service returned an error: {message}",
    "live.restarted": "The service was restarted; its counters were reset.",
    "live.nothing": "nothing in this time",
    "live.now": "now",
    "live.ago": "{minutes} min ago",
    "live.others": "others",
    "live.unit.ms": "{value} ms",
    "live.unit.s": "{value} s",

    "live.chart.requests": "Responses per second, by route and status",
    "live.chart.p50": "Latency, median by route",
    "live.chart.p99": "Latency, 99th percentile by route",
    "live.chart.queue": "Tokens waiting",
    "live.chart.age": "Longest wait for a turn",
    "live.chart.tokens": "Tokens computed a second",
    "live.chart.texts": "Texts computed a second",
    "live.chart.batch_texts": "Texts a pass",
    "live.chart.batch_tokens": "Tokens per pass, with padding",
    "live.chart.padding": "Padding, share of what is computed",
    "live.chart.errors": "Errors a second, by code",
    "live.chart.memory": "Memory of loaded models",

    "live.table": "Current values",
    "live.table.series": "Value",
    "live.table.value": "Now",
    "live.about":
      "From /metrics, summed over the workers. Latencies are those of the last 10 seconds, estimated from the " +
      "buckets of a histogram; probes and the page's own requests are left out. While the focus is in the table, it " +
      "stands still.",
  },
  ja: {
    "live.pause": "一時停止",
    "live.resume": "再開",
    "live.going": "このページを表示している間、1 秒ごとに更新します。",
    "live.paused": "一時停止中です。サービスへの問い合わせは行いません。",
    "live.slow": "{seconds} 秒以内に応答がなく、欠測になりました。再試行しています。",
    "live.lost": "サービスに接続できず、欠測になりました。再試行しています。",
    "live.refused": "サービスが拒否しました: {message}",
    "live.restarted": "サービスが再起動し、カウンターがリセットされました。",
    "live.nothing": "この期間のデータはありません",
    "live.now": "現在",
    "live.ago": "{minutes} 分前",
    "live.others": "その他",
    "live.unit.ms": "{value} ms",
    "live.unit.s": "{value} 秒",

    "live.chart.requests": "1 秒あたりの応答数 (ルート・ステータス別)",
    "live.chart.p50": "レイテンシ中央値 (ルート別)",
    "live.chart.p99": "レイテンシ 99 パーセンタイル (ルート別)",
    "live.chart.queue": "待機中のトークン数",
    "live.chart.age": "最長の待ち時間",
    "live.chart.tokens": "1 秒あたりの計算トークン数",
    "live.chart.texts": "1 秒あたりの計算テキスト数",
    "live.chart.batch_texts": "バッチあたりのテキスト数",
    "live.chart.batch_tokens": "バッチあたりのトークン数 (パディング込み)",
    "live.chart.padding": "計算に占めるパディングの割合",
    "live.chart.errors": "1 秒あたりのエラー数 (コード別)",
    "live.chart.memory": "読み込み済みモデルのメモリ",

    "live.table": "現在の値",
    "live.table.series": "項目",
    "live.table.value": "現在",
    "live.about":
      "/metrics の値を全ワーカーで合計しています。レイテンシは直近 10 秒間の値で、ヒストグラムのバケットから推定しています。" +
      "プローブとこのページ自身のリクエストは含みません。表にフォーカスがある間、表の更新は止まります。",
  },
};
