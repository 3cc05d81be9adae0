// Texts of timing.js.

export const strings = {
  en: {
    "timing.title": "Time: {ms} ms",
    "timing.stage": "Stage",
    "timing.time": "Time",
    "timing.share": "Share",
    "timing.ms": "{ms} ms",
    "timing.tokenize": "Tokenising",
    "timing.queue": "Waiting in the queue",
    "timing.compute": "Computing",
    "timing.service": "Loading, reading, writing",
    "timing.network": "Network and browser",
  },
  ja: {
    "timing.title": "所要時間: {ms} ms",
    "timing.stage": "段階",
    "timing.time": "時間",
    "timing.share": "割合",
    "timing.ms": "{ms} ms",
    "timing.tokenize": "トークン化",
    "timing.queue": "キュー待ち",
    "timing.compute": "推論",
    "timing.service": "モデルの読み込み・入出力",
    "timing.network": "通信とブラウザー",
  },
};
