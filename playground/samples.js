// Two examples, one in each language, and their buttons.

import { el } from "./dom.js";
import { t } from "./i18n.js";

/** @typedef {{lang: string, name: string, query: string, passages: string[]}} Sample */

/** @type {Sample[]} */
const SAMPLES = [
  {
    lang: "en",
    name: "English",
    query: "How can I make my home network faster?",
    passages: [
      "Sourdough needs a starter of flour and water that has fermented for about a week.",
      "Move the router to the middle of the home, away from thick walls and microwave ovens.",
      "The first undersea telegraph cable across the Atlantic was laid in 1858.",
      "An Ethernet cable between the computer and the router is faster and steadier than Wi-Fi.",
      "House prices in the suburbs rose faster than those in the city last year.",
      "Switch crowded devices to the 5 GHz band: it carries more, though not as far as 2.4 GHz.",
      "Restarting an old modem often helps when web pages load slowly.",
      "Spiders build their nets in places where insects fly past at night.",
      "Ask your provider for a faster contract if the line itself is the bottleneck.",
      "A good night's sleep makes you quicker and more attentive the next day.",
    ],
  },
  {
    lang: "ja",
    name: "日本語",
    query: "自宅のインターネットを速くする方法は?",
    passages: [
      "パン作りに使う天然酵母は、小麦粉と水を混ぜて一週間ほど発酵させて作ります。",
      "ルーターは家の中央に置き、厚い壁や電子レンジから離すと電波が届きやすくなります。",
      "大西洋を横断する最初の海底電信ケーブルは1858年に敷設されました。",
      "パソコンとルーターをLANケーブルでつなぐと、Wi-Fiより速く安定します。",
      "昨年は都心より郊外のほうが住宅価格の上昇が速かった。",
      "接続台数が多いときは5GHz帯に切り替えると、2.4GHz帯より多くのデータを送れます。",
      "ページの表示が遅いときは、古いモデムを再起動すると改善することがあります。",
      "クモは夜に虫が飛んでくる場所に網を張ります。",
      "回線そのものが遅い場合は、より高速なプランへの変更をプロバイダーに相談しましょう。",
      "よく眠ると、翌日の動きも判断も速くなります。",
    ],
  },
];

/**
 * @param {(sample: Sample) => void} onChoose @returns {HTMLElement}
 */
export function sampleButtons(onChoose) {
  const buttons = SAMPLES.map((sample) => {
    const on = { click: () => onChoose(sample) };
    return el("button", { type: "button", class: "button small", lang: sample.lang, on }, sample.name);
  });
  return el("span", { class: "row samples" }, el("span", { class: "note" }, t("samples.example")), buttons);
}
