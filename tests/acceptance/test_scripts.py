"""Text in thirty scripts goes through the tokenizer, both engines and back, unharmed."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.real.cluster import MODEL, Nursery, RealCluster, a_real_cluster

from tandem.core.request import Grammar
from tandem.processor.model import TextModel
from tandem.testing.cluster import a_request

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

SCRIPTS = {
    "Latin": "Žluťoučký kůň – façade, naïve, ß",
    "Greek": "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία",
    "Cyrillic": "Съешь ещё этих мягких булок, ґанок",
    "Armenian": "Բոլոր մարդիկ ծնվում են ազատ",
    "Georgian": "ყველა ადამიანი იბადება თავისუფალი",
    "Hebrew": "דג סקרן שט בים מאוכזב",
    "Arabic": "كل الناس يولدون أحرارًا",
    "Syriac": "ܟܠ ܒܪܢܫܐ ܒܪܝܠܗ ܚܐܪܐ",
    "Thaana": "ހުރިހާ އިންސާނުން",
    "Nko": "ߡߐ߱ ߓߍ߯ ߦߋ߫ ߟߊ߫",
    "Devanagari": "सभी मनुष्य जन्म से स्वतन्त्र हैं",
    "Bengali": "সমস্ত মানুষ স্বাধীনভাবে জন্মায়",
    "Gurmukhi": "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ",
    "Gujarati": "બધા માનવો જન્મથી સ્વતંત્ર",
    "Oriya": "ସମସ୍ତ ମଣିଷ ଜନ୍ମରୁ ସ୍ୱାଧୀନ",
    "Tamil": "மனிதர்கள் சுதந்திரமாக பிறக்கின்றனர்",
    "Telugu": "మానవులందరూ స్వతంత్రులు",
    "Kannada": "ಎಲ್ಲಾ ಮಾನವರು ಸ್ವತಂತ್ರರು",
    "Malayalam": "മനുഷ്യരെല്ലാം സ്വതന്ത്രരാണ്",
    "Sinhala": "සියලු මනුෂ්‍යයෝ නිදහස්",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระ",
    "Lao": "ມະນຸດທຸກຄົນເກີດມາມີ",
    "Tibetan": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་",
    "Burmese": "လူတိုင်းသည် တူညီလွတ်လပ်သော",
    "Khmer": "មនុស្សទាំងអស់កើតមកមាន",
    "Mongolian": "ᠬᠦᠮᠦᠨ ᠪᠦᠷ ᠲᠥᠷᠥᠵᠦ",
    "Ethiopic": "የሰው ልጅ ሁሉ ሲወለድ",
    "Hangul": "모든 인간은 태어날 때부터",
    "Kana": "すべてのニンゲンは、ﾊﾝｶｸ",
    "Han": "人人生而自由，𠮷野家 测试一下",
    "Gothic": "𐌼𐌰𐌲 𐌲𐌻𐌴𐍃 𐌹̈𐍄𐌰𐌽",
    "Emoji": "👩🏽‍🚀 🇨🇭 ❤️‍🔥 e\u0301",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(nursery: Nursery) -> AsyncIterator[RealCluster]:
    async with a_real_cluster(nursery, block_size=32, max_model_len=1024, kv_cache_memory_bytes=24 << 20) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def model() -> TextModel:
    return TextModel.load(MODEL)


async def test_there_are_thirty_of_them() -> None:
    assert len(SCRIPTS) >= 30


@pytest.mark.parametrize("script", SCRIPTS)
async def test_what_goes_in_comes_out(cluster: RealCluster, model: TextModel, script: str) -> None:
    """The engine must say the text (a grammar leaves it no choice), after a prompt that is the same text."""
    text = SCRIPTS[script]
    prompt = model.encode(text, add_special_tokens=False)
    assert model.decode(prompt) == text
    answer = await cluster.answer(
        a_request(
            prompt=prompt,
            max_tokens=4 * len(text.encode()),
            grammar=Grammar(kind="choice", value=json.dumps([text])),
        )
    )
    assert answer.site == "remote"
    assert answer.stage("kv_pull").detail["tokens"] == len(prompt)
    detokenizer = model.detokenizer()
    said = "".join(detokenizer.feed([token]) for token in answer.tokens) + detokenizer.close()
    assert said == text
    assert answer.finish_reason == "stop"
