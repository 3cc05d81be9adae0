// The service's sentences in Japanese: reasons and errors first, then the catalogue's notes about models. A hole {} is
// the same in both languages; {0} is the first one. service_text.js joins the sentences without spaces.

export const japanese = {
  "{} has no public weights and is forwarded to Cohere's API:": "{0} の重みは公開されておらず、Cohere の API に転送します。",
  "{} is forwarded to Cohere's API:": "{0} は Cohere の API に転送します。",
  "set COHERE_API_KEY.": "COHERE_API_KEY を設定してください。",
  "Cohere rejected this service's API key (COHERE_API_KEY).":
    "Cohere がこのサービスの API キー (COHERE_API_KEY) を受け付けませんでした。",
  "{} needs about {} GB in {};": "{0} は {2} で約 {1} GB を必要とします。",
  "the budget on {} is {} GB (MEMORY_FRACTION).": "{0} で使えるのは {1} GB です (MEMORY_FRACTION)。",
  "{} needs about {} GB, but the models in use leave less than that of the {} GB budget (MEMORY_FRACTION).":
    "{0} は約 {1} GB を必要としますが、使用中のモデルのため、上限 {2} GB (MEMORY_FRACTION) の残りが足りません。",
  "Use a larger machine or a smaller model.": "より大きなマシンか、より小さなモデルを使ってください。",
  "{} needs Python packages that are not installed.": "{0} に必要な Python パッケージがインストールされていません。",
  "Run: {}": "実行するコマンド: {0} ",
  "Run {}.": "{0} を実行してください。",
  "Not imported, and IMPORT_ON_DEMAND is off.": "インポートされておらず、IMPORT_ON_DEMAND が無効です。",
  "{} is not in the model store and IMPORT_ON_DEMAND is off.": "{0} はモデルストアになく、IMPORT_ON_DEMAND が無効です。",
  "IMPORT_ON_DEMAND is off.": "IMPORT_ON_DEMAND が無効です。",
  "Waiting for another import to end (MAX_IMPORTS).": "別のインポートが終わるのを待っています (MAX_IMPORTS)。",
  "Ready now: {}.": "今すぐ使えるモデル: {0}。",
  "No other model is in memory now;": "ほかにメモリー上のモデルはありません。",
  "GET /models lists all.": "すべてのモデルは GET /models で確認できます。",
  "{} cannot be loaded: {}.": "{0} を読み込めません: {1}。",
  "{} could not be loaded ({}).": "{0} を読み込めませんでした ({1})。",
  "{} is gated.": "{0} は利用に同意が必要です。",
  "Accept its terms on the Hub, and set HF_TOKEN to a token of that account.":
    "Hub で規約に同意し、そのアカウントのトークンを HF_TOKEN に設定してください。",
  "{}: the repository does not exist, or it is private and HF_TOKEN does not give access to it.":
    "{0}: リポジトリーが存在しないか、非公開で HF_TOKEN ではアクセスできません。",
  "Downloading {} failed ({}).": "{0} のダウンロードに失敗しました ({1})。",
  "Check the network, HF_ENDPOINT and the proxy variables, or put the files into {}.":
    "ネットワーク、HF_ENDPOINT、プロキシーの環境変数を確認するか、ファイルを {0} に置いてください。",
  "The import of {} made no progress for {} s and was stopped.":
    "{0} のインポートは {1} 秒間進まなかったため、中止されました。",
  "The import of {} ended with status {};": "{0} のインポートがステータス {1} で終了しました。",
  "a common cause is lack of memory.": "よくある原因はメモリー不足です。",
  "See the log.": "ログを確認してください。",
  "Try again.": "もう一度お試しください。",
  "Try again later.": "しばらくしてからもう一度お試しください。",
  "An input of {} tokens needs about {} GB for its forward pass on this machine;":
    "{0} トークンの入力の計算には、このマシンで約 {1} GB が必要です。",
  "the models in memory leave {} of the memory budget of {} (MEMORY_FRACTION).":
    "メモリーの上限 {1} (MEMORY_FRACTION) のうち、メモリー上のモデルを除いた空きは {0} です。",
  "Try again later, send a shorter input, or unload a model.":
    "しばらく待つか、入力を短くするか、モデルを解放してください。",
  "{} ran out of memory with an input of {} tokens.": "{0} は {1} トークンの入力でメモリー不足になりました。",
  "Try again later, send a shorter input, or run the service on a device with more memory.":
    "しばらく待つか、入力を短くするか、メモリーの多いデバイスでサービスを動かしてください。",
  "{} produced NaN or infinity for this input, and there is no memory to compute it in float32.":
    "{0} はこの入力で NaN または無限大を出力し、float32 で計算し直すメモリーがありません。",
  "The engine process ended and is being started again.": "エンジンのプロセスが終了し、再起動しています。",
  "The model is being unloaded.": "モデルを解放しているところです。",
  "{} tokens wait for this model and {} more would exceed the limit of {} (MAX_QUEUED_TOKENS).":
    "このモデルの待ち行列に {0} トークンがあり、さらに {1} トークンを加えると上限 {2} (MAX_QUEUED_TOKENS) を超えます。",
  "No answer within {} s (REQUEST_TIMEOUT_S).": "{0} 秒以内に応答できませんでした (REQUEST_TIMEOUT_S)。",
  "Send fewer or shorter texts, or try again later.":
    "テキストの数や長さを減らすか、しばらくしてからもう一度お試しください。",

  "BERT-large for Japanese;": "日本語向けの BERT-large です。",
  "needs token_type_ids, which the repository's own tokenizer class omits on transformers 5.":
    "token_type_ids が必要ですが、リポジトリー独自のトークナイザーは transformers 5 でこれを出力しません。",
  "Its author's smaller v2 series is the successor.": "後継は、同じ作者のより小さな v2 シリーズです。",
  "BERT-base for Japanese;": "日本語向けの BERT-base です。",
  "needs token_type_ids.": "token_type_ids が必要です。",
  "Superseded by {}, then by {}.": "後継は {0}、さらにその後継は {1} です。",
  "Superseded by {}.": "後継は {0} です。",
  "Multilingual MiniLM with 12 layers, tuned for Japanese.": "12 層の多言語 MiniLM を日本語向けに調整したものです。",
  "bge-reranker-v2-m3 tuned for Japanese.": "bge-reranker-v2-m3 を日本語向けに調整したものです。",
  "Non-commercial licence:": "商用利用できないライセンスです。",
  "Non-commercial licence;": "商用利用できないライセンスです。",
  "Non-commercial licence.": "商用利用できないライセンスです。",
  "for business use choose bge-reranker-v2-m3 or gte-multilingual-reranker.":
    "業務では bge-reranker-v2-m3 か gte-multilingual-reranker を選んでください。",
  "The authors' rerank() scores longer texts in overlapping windows;":
    "作者の rerank() は長いテキストを重なり合う窓に分けて採点します。",
  "here they are truncated.": "ここでは切り詰めます。",
  "Takes 8192 tokens but was trained at 1024, which BAAI advises.":
    "8192 トークンまで受け付けますが、学習時の長さは 1024 で、BAAI もそれを勧めています。",
  "Over 70 languages;": "70 以上の言語に対応しています。",
  "the authors' example truncates at 512 tokens.": "作者の例では 512 トークンで切り詰めています。",
  "DeBERTa-v2, which has no fused attention.": "DeBERTa-v2 で、融合アテンションがありません。",
  "An English model despite its group.": "このグループにありますが、英語のモデルです。",
  "An English model despite its group;": "このグループにありますが、英語のモデルです。",
  "No weights exist in public, only the tokenizer:": "公開されているのはトークナイザーだけで、重みは非公開です。",
  "requests go to Cohere's API with the operator's own key and under Cohere's terms.":
    "リクエストは、運用者のキーと Cohere の規約の下で Cohere の API に送られます。",
  "Newer there:": "Cohere のより新しいモデル:",
  "rerank-v3.5 and rerank-v4.0.": "rerank-v3.5、rerank-v4.0。",
  "Small and fast, meant for CPU.": "小さく高速で、CPU 向けです。",
  "Takes 8192 tokens, but Jina's API documentation calls 1024 effective.":
    "8192 トークンまで受け付けますが、Jina の API の文書では 1024 が有効な長さとされています。",
  "BCE by NetEase Youdao, not BGE.": "BGE ではなく、NetEase Youdao の BCE です。",
  "Its own library splits long passages with overlap and takes the best part;":
    "専用のライブラリーは長い文書を重ねて分割し、最も良い部分を採用します。",
  "The weights are a pickle.": "重みは pickle 形式です。",
  "A pickle.": "重みは pickle 形式です。",
  "English and Chinese only.": "英語と中国語だけに対応しています。",
  "Needs its query and document prompts.": "クエリ用と文書用のプロンプトが必要です。",
  "For similarity of sentences;": "文の類似度向けです。",
  "weak at retrieval.": "検索は苦手です。",
  "Mean pooling as sentence-transformers does it, the repository names none (unverified:":
    "リポジトリーにプーリングの指定がないため、sentence-transformers と同じ平均プーリングを使います (未検証: ",
  "the authors may have meant CLS).": "作者の意図は CLS かもしれません)。",
  "For sentences, not passages;": "長い文章ではなく、文向けです。",
  "its authors set the limit at 80 tokens.": "作者は上限を 80 トークンにしています。",
  "Needs its prompts;": "専用のプロンプトが必要です。",
  "for other tasks than retrieval the authors put the query prompt on both sides.":
    "検索以外の用途では、作者は両側にクエリ用のプロンプトを付けています。",
  "Unverified:": "未検証:",
  "mean pooling and the tokenizer, taken from GLuCoSE-base-ja, its base.":
    "平均プーリングとトークナイザー (元のモデル GLuCoSE-base-ja のもの)。",
  "No commit pinned.": "コミットは固定されていません。",
  "Needs no prompts.": "プロンプトは不要です。",
  "needs no prompts.": "プロンプトは不要です。",
  "Dense vectors only;": "密ベクトルだけに対応しています。",
  "An import by an earlier version has dense vectors only;":
    "以前のバージョンでインポートしたモデルには密ベクトルしかありません。",
  "import the model again for the other outputs.": "ほかの出力を使うには、インポートし直してください。",
  "Returns sparse vectors only.": "疎ベクトルだけを返します。",
  "Returns token vectors only, and reranks by MaxSim.":
    "トークンごとのベクトルだけを返し、リランクには MaxSim を使います。",
  "The weights of queries (input_type query) come from a table, without a forward pass.":
    "クエリ (input_type が query) の重みは表から取り、モデルの計算はしません。",
  "SPLADE on Japanese BERT.": "日本語 BERT による SPLADE です。",
  "SPLADE++ on BERT.": "BERT による SPLADE++ です。",
  "ColBERT on ModernBERT.": "ModernBERT による ColBERT です。",
  "ColBERT.": "ColBERT です。",
  "The original ColBERT.": "最初の ColBERT です。",
  "It was trained on documents of 300 tokens;": "300 トークンの文書で学習しています。",
  "a block of your own (EXTRA_CATALOG) may raise max_tokens up to 8192.":
    "独自のブロック (EXTRA_CATALOG) で max_tokens を 8192 まで増やせます。",
  "the prompts.": "プロンプト。",
  "its sparse output is not served.": "疎ベクトルの出力は提供しません。",
  "about {} GB in half precision.": "半精度で約 {0} GB です。",
  "Pools by latent attention, not by mean, CLS or last token.":
    "平均、CLS、最後のトークンではなく、潜在アテンションでプーリングします。",
  "the default instruction is e5-mistral's (unverified).": "既定の指示は e5-mistral のものです (未検証)。",
  "The authors advise at most 4096 tokens and English text;": "作者は 4096 トークン以下の英文を勧めています。",
  "the exact words of bitext_query.": "bitext_query の正確な文言。",
  "Trained for shorter vectors;": "短いベクトルでも使えるように学習されています。",
  "512 is the card's example, other widths are unverified.":
    "512 次元はモデルカードの例で、ほかの次元数は未検証です。",
  "Small and fast;": "小さく高速です。",
  "MIT, since mteb says Apache-2.0;": "MIT (mteb には Apache-2.0 とあります)。",
  "both allow commercial use.": "どちらも商用利用できます。",
  "ModernBERT for Japanese;": "日本語向けの ModernBERT です。",
  "needs no MeCab.": "MeCab は不要です。",
  "Main was at bb46934, of which only the short form is known.":
    "main のコミットは bb46934 でした (短い形しか分かっていません)。",
  "ModernBERT for Japanese, made for CPU;": "CPU 向けに作られた日本語の ModernBERT です。",
  "the limit of 8192 tokens, which is that of its base ruri-v3-pt.":
    "8192 トークンの上限 (元のモデル ruri-v3-pt のもの)。",
  "ModernBERT for Japanese with 10 layers, made for CPU;": "CPU 向けに作られた 10 層の日本語 ModernBERT です。",
  "parameters and the limit of 8192 tokens, which are those of its base ruri-v3-pt-30m.":
    "パラメーター数と 8192 トークンの上限 (元のモデル ruri-v3-pt-30m のもの)。",
  "A causal language model that answers yes or no.": "yes か no で答える因果言語モデルです。",
  "A causal language model that answers yes or no;": "yes か no で答える因果言語モデルです。",
  "A causal language model that answers 1 or 0;": "1 か 0 で答える因果言語モデルです。",
  "its library stops at 8192 tokens by default.": "専用のライブラリーの既定の上限は 8192 トークンです。",
  "Its optional instruction is not offered here.": "任意の指示には、ここでは対応していません。",
  "The authors' own example stops at 8192 tokens.": "作者の例の上限は 8192 トークンです。",
  "ModernBERT-base with long input.": "長い入力に対応した ModernBERT-base です。",
  "ModernBERT-base with long input;": "長い入力に対応した ModernBERT-base です。",
  "ModernBERT with long input;": "長い入力に対応した ModernBERT です。",
  "ModernBERT with long input.": "長い入力に対応した ModernBERT です。",
  "Small and fast, for web search passages.": "小さく高速で、ウェブ検索の文章向けです。",
  "Logits reach +-11, so many scores lie close to 0 or 1.":
    "ロジットが ±11 に達するため、多くのスコアが 0 か 1 に近くなります。",
  "Twice the layers of ms-marco-minilm-l-6-v2.": "層の数は ms-marco-minilm-l-6-v2 の 2 倍です。",
  "Twice the layers of all-minilm-l6-v2;": "層の数は all-minilm-l6-v2 の 2 倍です。",
  "Prompt topic is for classification and clustering.": "プロンプト topic は分類とクラスタリング用です。",
  "Queries need the instruction prompt, documents none.": "クエリには指示のプロンプトが必要で、文書には不要です。",
  "Queries need the prompt, documents none.": "クエリにはプロンプトが必要で、文書には不要です。",
  "Any width from {} to {} was trained for.": "{0} から {1} までのどの次元数でも使えるように学習されています。",
  "Gated:": "利用に同意が必要です。",
  "accept the Gemma terms on the Hub and give a token;": "Hub で Gemma の規約に同意し、トークンを設定してください。",
  "they allow commercial use within Google's use policy.": "規約は Google の利用ポリシーの範囲で商用利用を認めています。",
  "Two dense layers follow the pooling.": "プーリングの後に全結合層が 2 つあります。",
  "A dense layer follows the pooling.": "プーリングの後に全結合層があります。",
  "Not for float16;": "float16 では使えません。",
  "use bfloat16 or float32.": "bfloat16 か float32 を使ってください。",
  "ModernBERT;": "ModernBERT です。",
  "CLS pooling and the size of the tokenizer files.": "CLS プーリングと、トークナイザーのファイルのサイズ。",
  "The query prompt helps when short queries look for passages;":
    "短いクエリで文章を探すときは、クエリ用のプロンプトが役立ちます。",
  "documents need none.": "文書には不要です。",
  "Gemma 2B;": "Gemma 2B です。",
  "the score is the logit of Yes.": "スコアは Yes のロジットです。",
  "The authors' library cuts passages at 512 tokens by default.":
    "作者のライブラリーは、既定で文書を 512 トークンで切ります。",
  "The weights are float32, about {} GB in half precision.": "重みは float32 で、半精度では約 {0} GB です。",
  "ModernBERT with a modular head.": "モジュール式の出力層を持つ ModernBERT です。",
  "Logits are about 3 to 12, so scores lie close to 1;": "ロジットが 3〜12 程度のため、スコアは 1 に近くなります。",
  "compare raw scores.": "生のスコアで比較してください。",
  "parameters, and that the weights are bfloat16.": "パラメーター数と、重みが bfloat16 であること。",
  "Multilingual MiniLM with 12 layers, trained on mMARCO in 14 languages.":
    "14 言語の mMARCO で学習した 12 層の多言語 MiniLM です。",
  "For similarity of sentences in 50 languages;": "50 言語の文の類似度向けです。",
  "Longer limits than 128 tokens lower its quality.": "上限を 128 トークンより長くすると品質が下がります。",
  "Small, trained on questions and answers;": "質問と回答で学習した小さなモデルです。",
  "the licence, which is mteb's.": "ライセンス (mteb の記載)。",
  "For finding translations in 109 languages, not for search;": "検索ではなく、109 言語の対訳を探すためのモデルです。",
  "The card allows any width from {} to {}.": "モデルカードでは {0} から {1} までのどの次元数も使えます。",
  "Needs a prompt for every text.": "すべてのテキストにプロンプトが必要です。",
  "Trained at 2048 tokens.": "学習時の長さは 2048 トークンです。",
  "The card normalises layers before it shortens vectors;":
    "モデルカードの手順では、レイヤー正規化をしてからベクトルを短くします。",
  "here they are only cut.": "ここでは短くするだけです。",
  "ModernBERT for CPUs:": "CPU 向けの ModernBERT です。",
  "all but {} million parameters are the word table.": "計算に使うパラメーターは {0}00 万個で、残りは単語の表です。",
  "Gemma 3.": "Gemma 3 です。",
  "the blank at the end of the prompt.": "プロンプトの末尾の空白。",
  "Qwen3.": "Qwen3 です。",
  "Qwen3 with the retrieval adapter merged by the authors;": "作者が検索用アダプターを統合した Qwen3 です。",
  "the adapters of other tasks are other repositories.": "ほかの用途のアダプターは別のリポジトリーにあります。",
  "XLM-RoBERTa with rotary positions and the adapter of one task merged:":
    "回転位置埋め込みの XLM-RoBERTa に、1 つの用途のアダプターを統合したものです。用途: ",
  "queries, for documents of jina-embeddings-v3-retrieval-passage.":
    "クエリ (文書には jina-embeddings-v3-retrieval-passage を使います)。",
  "documents, for queries of jina-embeddings-v3-retrieval-query.":
    "文書 (クエリには jina-embeddings-v3-retrieval-query を使います)。",
  "The file list of the repository is unverified.": "リポジトリーのファイル一覧は未検証です。",
  "clusters and duplicates.": "クラスタリングと重複の検出。",
  "features of classifiers.": "分類器の特徴量。",
  "similarity of two texts.": "2 つのテキストの類似度。",
};
