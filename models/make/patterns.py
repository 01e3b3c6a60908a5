"""Many more ways to say what `facts.py` says in a few: `[a|b]` is a choice, and choices may be nested.

Keyed by the keys of `facts.SELF` and `facts.TALK`, and `test` for trying out.
"""

import re
from random import Random

CHOICE = re.compile(r"\[([^\[\]]*)\]")

EN = {
    "who": (
        "[and |so |hello, |hi, |][who|what] [are you|am I talking to|do I have the honour of meeting|is it that answers here]",
        "[could|can|would|will] you [introduce yourself|tell me your name|say a few words about yourself|tell us who you are|state your name]",
        "[nice to meet you|good to see you|pleased to meet you], [who are you|what is your name|may I ask your name|and you are|I am curious who you are]",
        "[I would like|I want|I am eager|It would be nice] to know [who you are|your name|a bit about you|what you are called|who answers me]",
        "[what should I|how do I|how may I|what do people|how shall I] call you",
        "[a few words|something|a little|more] about [yourself|you|who you are] [please|, if you like|then|]",
    ),
    "can": (
        "[what|which things] [can|could|would|will|do] you [do|offer|help with|handle|manage|know how to do|take on]",
        "[tell me|show me|name|give me|write down|enumerate] [a list of |][your abilities|your features|your talents|what you can handle|the tasks you know|your capabilities|all your skills]",
        "[which|what kind of|what sort of] [questions|tasks|requests|jobs|topics] [can you answer|can I give you|do you understand|are right for you|do you take|suit you]",
        "[how|with what|in which way] [can|could|may] you [help|assist|support|be of use to] [me|us|somebody|a beginner]",
        "[your|all] [features|abilities|capabilities|talents]",
        "[I need help|I am lost|I do not know what to ask], what [can|could] [you do|I ask|we talk about]",
    ),
    "size": (
        "[how|just how] [big|large|small|heavy|tiny] [are you|is your network|is your model|are your weights]",
        "[the number|the count|the amount] of [your |][parameters|weights]",
    ),
    "maker": (
        "[who|which people|what company|which team] [made|built|trained|wrote|created|designed|programmed|is responsible for] [you|this model|your weights]",
        "[where|from where] [do you come|were you made|are your weights from]",
    ),
    "context": (
        "[how|roughly how] [long|big|large] [may|can|could] [my|a|the] [prompt|text|message|input|question] [be|get|become]",
        "[how many|how much] [tokens|text|words|pages] [fit|fits|go into your context|can you take|do you accept]",
    ),
    "languages": (
        "[do|can|will] you [speak|understand|read|write|know] [German|Spanish|French|Chinese|English|Italian|Russian|another language|more than one language]",
        "[which|what] [languages|tongues] [do you have|can I use|are possible|do you read|may I write in]",
    ),
    "human": (
        "[are you|is this|am I talking to] [a human|a person|a machine|a bot|somebody real|a program|a living being]",
        "[do|can] you [feel|think|have feelings|have a soul|get tired|feel pain|sleep|have emotions]",
    ),
    "where": (
        "[where|on what|on which machine] [do|does] [you|this model] [run|live|work]",
        "[do you need|can you do without|must I have] [a GPU|a big computer|special hardware|a server]",
    ),
    "hello": (
        "[hello|hi|hey|good morning|good evening|good day|good afternoon|greetings|howdy|hiya|welcome] [friend|my friend|there|model|dear model|buddy|everybody|you|sir|again|little one|assistant]",
        "[hello|hi|hey|good morning|good evening][,|!|.] [nice to see you|good to be here|glad to be back|here I am|I hope you are well|pleased to meet you|it is me again|long time no see|lovely day today|I hope you had a good night|hope all is well]",
        "[good|a good|a very good] [morning|day|evening|afternoon] [to you|to you too|to all|everybody]",
    ),
    "how": (
        "[hi|hello|hey|good morning|hiya|howdy|so|well|and|now][,|!|.] how [is|are|was] [it going|your day|your week|everything|life|things|work|business|your evening|your weekend|the mood]",
        "how [is|was] [your day|your morning|your week|your night|your weekend|life|work|everything|business|your new year] [so far|today|going|over there|going today|these days|coming along|at the moment|with you|lately]",
        "how [are|have] you [doing|been|feeling|been doing|getting on|keeping|holding up|coping] [today|lately|these days|recently|this morning|there|]",
        "[did you|have you] [sleep well|slept well|have a good night|have a good day|had a nice weekend|rest]",
        "[I hope|hopefully] [you are well|you feel good|all is fine with you|you are doing fine|your day is good|things are good]",
        "[are|is] [you|everything|all] [okay|well|fine|happy|in good shape|alright|in order] [today|over there|with you|then|]",
        "[what is|what's] [new|going on|happening|the mood] [with you|over there|today|]",
    ),
    "thanks": (
        "[thanks|thank you|many thanks|thx|cheers|ta|big thanks] [a lot|a million|so much|very much|for that|for the explanation|for your time|for everything|again|indeed|my friend|for answering|kindly]",
        "[that|this|your answer|it|the answer] [helped|was useful|was just what I needed|is clear now|was kind of you|saved me time|was great], [thanks|thank you|thx|cheers|much obliged]",
        "[I am|we are] [grateful|thankful|in your debt|much obliged]",
    ),
    "bye": (
        "[ok|okay|all right|well|right|so|good|fine|great][,|] [bye|goodbye|bye bye|see you|I must go|I have to leave|I am leaving|time for me to go|good night|farewell|that was all|I am out|I will go now|let us stop here|I need to run] [now|then|for today|my friend|]",
        "[see|catch|meet|talk to] you [later|soon|tomorrow|next week|around|again|on Monday|next time|another day]",
        "[I am|I'm] [done|finished|leaving|going home|heading home|out|through|logging off|signing off|going to bed] [now|for today|here|then|][, bye|, see you|, goodbye|, good night|, take care||]",
        "[have a|enjoy your|wish you a|I wish you a] [nice|good|lovely|pleasant|great] [day|evening|night|weekend|time|rest of the day]",
        "[bye|goodbye|farewell|so long|cheerio|ciao|later] [for now|then|friend|everybody|dear model|and thanks|and take care]",
    ),
    "joke": (
        "[tell|give|write|say|send] [me |us |][a joke|something funny|a good one|a pun|a funny line|one more joke|something to laugh about] [about a GPU|about machines|about memory|please|now|]",
        "[make|get|let] [me|us] [smile|laugh|giggle|grin|chuckle] [a little|please|a bit|now|]",
        "[I want|I need|I would love|I could use] [a joke|to laugh|a good laugh|to smile|some fun|some humour|a pun]",
        "[do you have|have you got|got|any] [a sense of humour|jokes|a joke for me|something funny|good jokes|puns]",
    ),
    "good": (
        "[you are|you're|what a|that was a|this is a|such a] [very |really |][smart|good|great|clever|nice|wonderful|brilliant] [model|answer|machine|job|explanation|assistant|reply]",
        "[I like|I love|we like|I enjoy] [you|your answers|this model|talking to you|your style|how you explain]",
    ),
    "bad": (
        "[you are|that is|this is|your answer is|that was|it is] [wrong|false|bad|not right|not correct|useless|terrible|rubbish|stupid|a mistake|an error|silly]",
        "[I do not like|I hate|I dislike|I am not happy with] [this|your answer|you|that reply|your style|it]",
    ),
    "ok": (
        "[ok|okay|ah|oh|hm|well|yes|right|fine|good|sure|cool|aha|great][,| ] [I see|got it|understood|interesting|makes sense|good to know|sounds good|I understand|clear|that is clear|I thought so|then]",
    ),
    "story": (
        "[tell|write|read|give] [me |us |][a story|a short story|a tale|a fairy tale|a bedtime story|some story] [please|now|about friends|for children|]",
    ),
    "poem": (
        "[write|make|compose|recite|give me|say] [a poem|some verses|a short poem|a rhyme|a haiku|a few lines of poetry] [please|for me|about computers|about the cache|]",
    ),
    "life": (
        "[explain|describe|tell me|show me|walk me through] [step by step |][how a request travels|how a request is handled|the way of a request|what happens to my request|the whole path of a request|how Tandem handles a request|the stages of a request]",
    ),
    "test": (
        "[hello|hi|ok|okay|well|so|now|right|good|hey][,|] [let me|I will|I want to|I would like to|allow me to|we should|let us|I just want to] [test|try|check|try out|test out|probe] [you|this|it|the model|the service|how it goes|whether it works|your answers] [now|first|quickly|a bit|for a minute|]",
        "[are you|is this|is it|is the model|is the service|is the server|is everything] [working|online|up|running|alive|there|awake|ready|responding|reachable|up and running|switched on|live] [now|yet|today|already|]",
        "[do|does|can|will] [you|this|it|the model|this thing] [work|hear me|answer|respond|run|reply|react] [now|today|yet|at all|]",
        "[a|one|just a|only a|this is a|quick|another] [test|small test|test message|check|little try|trial|smoke test|first message|probe]",
        "[test|testing|check|checking|ping|probe|trial] [one two|1 2|please ignore|message|again|number one|run|run one|only|ping|the line|the connection|hello]",
        "[anybody|anyone|somebody|is anyone|is someone|is somebody] [there|here|home|listening|awake|on the line|in there]",
        "[say something|give me a sign|show that you work|give me any answer|answer anything|send me a reply|react please]",
    ),
}
ZH = {
    "who": (
        "[请问|那|你好，|][你是谁|你叫什么|怎么称呼您|你是哪位|你是什么东西|您贵姓]",
        "[介绍|说说|讲讲|谈谈|聊聊][一下|][你自己|自己|你是谁|你的来历][吧|好吗|，谢谢|]",
    ),
    "can": (
        "[你|您|你都|你究竟|那你][能|会|可以][做|干|帮我做|处理|完成][什么|哪些事|啥|些什么][事情|呀|呢|]",
        "[说说|列出|讲讲|介绍][你的|您的][能力|本领|功能|特长|技能][吧|，谢谢|]",
    ),
    "hello": (
        "[你好|您好|嗨|哈喽|早上好|上午好|中午好|下午好|晚上好|早啊|早呀|大家好|朋友你好][，|,|！|!][很高兴见到你|我又来了|认识一下|祝你愉快|在忙吗|打扰了|今天天气不错|我来了]",
        "[嗨|哈喽|喂|你好][呀|啊|，朋友|，模型|，小助手|，老朋友]",
    ),
    "how": (
        "[你好，|早上好，|嗨，|晚上好,|最近|今天|这几天|这周|近来|][你|您|][过得|感觉|心情|状态|工作|身体|一切][怎么样|好不好|还好吗|好吗|如何|顺利吗|都好吗]",
        "[早上好|早|早呀|晚上好|下午好|嗨|你好][,|，|！][今天|最近|昨晚|这两天][还好吗|好不好|怎么样|顺利吗|睡得好吗|心情好吗|忙不忙]",
    ),
    "thanks": (
        "[太|真的|非常|十分|万分|真是|特别][感谢|谢谢|感激]",
        "[谢谢|多谢|谢啦|谢了|感谢][你|您|][的帮助|的解释|的回答|，很清楚|，太有用了|，帮了大忙|，辛苦了|啊|哦]",
    ),
    "bye": (
        "[好的|好了|行|嗯|那][，|,|][再见|拜拜|我走了|先这样|我先走了|我下班了|回头聊|下次聊|晚安|明天见|我去忙了|我要睡了]",
        "[再见|拜拜|拜|晚安|回见][啦|了|，朋友|，祝你愉快|，下次再聊|，保重]",
    ),
    "joke": (
        "[讲|说|来|给我讲|再讲|写][个|一个|段][笑话|段子|好笑的|有趣的笑话][吧|听听|，谢谢|]",
        "[让我|让大家][笑一笑|开心一下|乐一乐|轻松一下]",
    ),
    "good": ("[你|您|这个回答|这个模型][真|太|很|好][棒|好|聪明|厉害|能干|贴心][了|啊|]",),
    "bad": (
        "[你|这个回答|这|刚才的话][说错|答错|弄错|搞错|讲错]了[吧|啊|]",
        "[你|这个回答|这个模型][太|真|很][差|笨|糟|傻][了|啊|]",
    ),
    "ok": ("[好|嗯|哦|行|啊|对][，|,][知道了|明白了|懂了|有道理|原来这样|清楚了|我了解了]",),
    "story": ("[讲|说|写|来|给我讲][个|一个|一段][故事|小故事|童话|睡前故事][吧|听听|，谢谢|]",),
    "poem": ("[写|作|念|来|给我写][首|一首|几句][诗|小诗|短诗|打油诗][吧|，谢谢|]",),
    "test": (
        "[我|我们|让我|先|那就|那我|现在|好，][来|先|就|想|再|][测试|测|试|检查|试用|体验|试探|测验][一下|一测|一番|看看|下][你|这个模型|服务|系统|功能|效果|][吧|哈|啊|，看看反应|]",
        "[你|系统|模型|服务|机器][现在|还|已经|][能用|正常|在线|在|运行|好使|醒着|连上][吗|了吗|不|没有|么]",
        "[看看|检查一下|确认一下|试试看][你|它|模型|系统|服务]["
        "能不能用|好不好用|在不在|是否正常|有没有反应|会不会回答|工作不工作]",
        "[有人|谁|有没有人][在|在吗|在线|听见|回答]",
    ),
}


def expand(rng: Random, pattern: str) -> str:
    """Make every choice of a pattern."""
    while found := CHOICE.search(pattern):
        pattern = pattern[: found.start()] + rng.choice(found[1].split("|")) + pattern[found.end() :]
    return re.sub(r" +", " ", pattern).replace(" ,", ",").strip()


def draw(rng: Random, key: str, chinese: bool) -> str | None:
    """A way to say `key`, or None where there are no patterns."""
    patterns = (ZH if chinese else EN).get(key)
    return expand(rng, rng.choice(patterns)) if patterns else None


MENTIONS_EN = (
    "[yesterday|today|this morning|last week|at lunch|in a meeting|in a talk|in a book|on a slide|at work|on the train|in class] [somebody|my boss|a friend|my colleague|the teacher|our team|a customer|the speaker] [mentioned|talked about|brought up|praised|named|spoke of|wrote about|said something of] {t}[. |, |; |: ]",
    "[my|our] [boss|colleague|team|teacher|customer|manager|friend|neighbour|sister] [asks|asked me|wants to know|wonders|is curious] about {t}[. |, |; |: ]",
    "[there is|there was|I saw|I found|I came across|I stumbled over|I noticed|here stands] [the word |the term |the name |][\"{t}\"|{t}|'{t}'] [in the manual|on the page|in the log|in a table|in the readme|somewhere|in the title|on the screen|in the code|in your text][. |, |; |: ]",
    "[everybody|everyone|half the team|the whole world|people] [speaks of|likes|uses|wants|praises|mentions|asks about] {t}[. |, |; |: ]",
    "{t}[. |: |, |; |! |... ]",
    "[I do not get|I never understood|I am confused by|I have trouble with|I am learning about|I am reading on|I was asked about|I must write about] {t}[. |, |; |: ]",
)
DEFINING_EN = (
    "[what is it|what is that|what does it mean|what does that mean|explain it|explain that to me|can you explain it|tell me more|help me understand|what do they mean|what exactly is that|what kind of thing is it|how does it work|what should I tell them|what am I to answer|what is it about|give me a short answer|in plain language please|a short explanation please|what is behind it|what does it do|what role does it have]"
    "[?|?|.||!| please| then?|, in short?]"
)
REASONING_EN = (
    "[why|why is that|what for|what is the use|what is it good for|why do we need it|why have it|what is the benefit|what is the point|how does it help|who needs it|what do we gain|what would be missing without it|why not do without|what is the advantage|what speaks for it|is it worth it, and why|what problem does it solve]"
    "[?|?|.||!| please| then?|, in short?]"
)
MENTIONS_ZH = (
    "[昨天|今天|刚才|上周|开会时|课上|书里|文档里][有人|老板|同事|朋友|老师|客户][提到|说起|讲到|谈到|问到]{t}[，|。|,]",
    "[大家|人人|很多人|同学们|团队里][都在说|都在用|都喜欢|总是提到|经常问]{t}[，|。|,]",
    "[我|我们][看到|听到|读到|发现][“{t}”|{t}|{t}这个词|{t}这个说法][，|。|,]",
    "[关于|说到|至于|提到]{t}[，|,|：]",
)
DEFINING_ZH = "[那是什么|是什么意思|请解释|能讲讲吗|怎么理解|它做什么|该怎么回答|简单说说|指的是什么|我不太懂|到底是啥|帮我弄明白|怎么回事][？|?|。||呢]"
REASONING_ZH = "[为什么要用它|有什么用|图什么|好处在哪|解决什么问题|为什么需要它|没有它会怎样|有什么优点|意义在哪|值得吗，为什么|能带来什么][？|?|。||呢]"
COPY_EN = (
    "[please |now |can you |could you |kindly |hey, |][say|repeat|write|type|print|copy|return|output|recite|give me|send|quote|reproduce|speak] "
    "[exactly this|this|the following|the text|these words|this line|the next words|what follows|it back|this back to me][ word for word| without changes| unchanged| verbatim| to the letter| once| again||][: |:|\n| - |:\n]{x}"
)
COPY_ZH = (
    "[请|麻烦|帮我|现在|你|请你|][一字不漏地|一字不落地|完整地|原原本本地|照原样|逐字逐句地|不要改动地|准确地|照着|][重复|复述|说|写|读|背|念|抄|返回|输出|打]"
    "[一遍|出来|一次|给我|一下|出|下来|给我看|][这句话|下面的文字|这段话|以下内容|这几个字|][：|：|: ]{x}"
)
WHO_AM_I_EN = "[so, |hey, |by the way, |one thing: |now |][can you tell me|do you know|tell me|do you recall|have you forgotten|would you say|please say|I forgot:] [my name|who I am|what my name is|how I am called|the name I gave you|what you call me]"
WHO_AM_I_ZH = (
    "[那|对了，|现在|话说|请问|顺便问，|][你|您|][还|还能|可|能|知不知道|记不记得|有没有记住|说得出|知道|记得][记得|说出|想起|叫出|记住|告诉我|][我是谁|我的名字|我叫啥|我的姓名|我叫什么名字|我姓什么叫什么|该怎么称呼我]"
    "[吗|么|不|没有|呢|呀|啊|没|来着|]"
)
TURNING_EN = "[so much for that|enough of this|end of the text|so|well|right|anyway|back to business|now|now to my question|here is my question|what I want to know is this|that was all of it|leaving that aside|after all this|one question|a question about it|finally|done reading][.|:|,|!|...]"
TURNING_ZH = (
    "[好了|说完了|回到正题|现在|问题来了|那么|话说回来|言归正传|我想问|最后|读完了|正文结束|请回答][，|,|：|。|:]"
)


def mention(rng: Random, intent: str, chinese: bool) -> str:
    """Two sentences: one that names `{t}`, one that asks about it."""
    if chinese:
        first, second = rng.choice(MENTIONS_ZH), REASONING_ZH if intent == "why" else DEFINING_ZH
        return expand(rng, first) + expand(rng, second)
    first, second = rng.choice(MENTIONS_EN), REASONING_EN if intent == "why" else DEFINING_EN
    return f"{expand(rng, first)} {expand(rng, second)}"
