"""Word lists and makers of names that no list holds. The words of the held-out tools are left out on purpose (`check.py` looks)."""

from random import Random

VERBS = (
    "get find fetch search list show check create add remove delete update open close start stop send book order buy sell play pause cancel schedule plan track count "
    "measure convert compute calculate compare rate review print scan copy move rename share upload download install restart reset lock unlock enable disable assign approve "
    "reject submit publish subscribe notify remind invite join leave connect inspect verify validate register load save read write query filter sort merge split record "
    "report estimate predict clean wash cook bake paint repair replace borrow lend ship deliver return refund charge pay transfer block allow follow visit water cut lift push pull build"
).split()
NOUNS = (
    "weather invoice ticket order account user customer product package parcel letter message note task project meeting calendar event reminder alarm timer song album "
    "playlist movie film actor book author article page chapter recipe meal table menu restaurant hotel flat house garden tree flower field farm cow horse sheep dog cat bird "
    "fish bridge road train bus tram car truck ship boat plane airport port city village island mountain lake forest beach park school teacher class lesson course exam "
    "doctor patient nurse clinic pharmacy medicine bank card loan stock bond fund tax budget salary job worker team office desk chair lamp door window kitchen oven fridge pump "
    "engine wheel tire battery cable sensor camera screen phone laptop server cluster container image volume bucket file folder document photo video channel stream playlist "
    "website domain certificate password key token session log metric alert incident branch commit issue release pipeline build test model dataset sample report chart map route "
    "trip journey guide tour festival concert theatre game player coach league race medal club shop store market basket coupon gift toy shirt shoe coat hat bag box bottle cup "
    "plate knife spoon bread cheese apple pear lemon onion potato rice soup salad cake coffee milk juice wine beer water salt sugar honey oil paper pen pencil ruler brush "
    "robot satellite rocket planet crater telescope microscope lens mirror magnet crystal metal copper iron silver gold wood glass cotton wool leather fence gate roof cellar well"
).split()
HELD_BACK = frozenset(
    "resort river hours harbour passengers town day kind cups isbn building wall colour parcel altitude country owner pitch street plant region freezer_id student badge stone venue fee gate "
    "percent phrase comet llama kilos fountain running flight tank passport glacier per postcode match seam amps marina nights spice sender tower strokes star station minutes museum count "
    "lantern dish room on elevator floor sighting_place sauna guests roast grams licence_plate depot weeks shepherd_name choir_name continent fjord bridge_name axles locker_no "
    "movie_title subtitle_language species theatre_stage brightness_pct karat ounces".split()
)
"""Parameters of the held-out tools: never drawn as a name here."""
NOUNS = sorted(set(NOUNS) - HELD_BACK - {"ticket", "cup", "token", "metric", "guest"})
MORE_NOUNS = (
    "accident actor adapter agenda agreement airline airship alley almond anchor angle animal ankle answer ant antenna apartment appointment apron arch area arena arm armchair "
    "arrow artist assistant athlete attic auction audience aunt autumn avenue axe baby bacon badger baker bakery balance balcony ball balloon bamboo banana band bandage banner "
    "bar barber bark barn barrel baseball basement basin bath bathroom bay beam bean bear beard beaver bed bedroom beetle bench berry bicycle bill birth biscuit blade blanket "
    "blind blood blouse board body boiler bolt bone border boss boulder bowl boy bracelet brain brake brass breakfast breath brick bride broom brother bubble bucket buffet bug "
    "bulb bull bullet bus bush butcher butter butterfly button cabbage cabin cabinet cactus cage calf camel camp canal candidate candle candy canoe canyon cap captain caravan "
    "cargo carpenter carpet carrot cart castle catalogue cattle cave ceiling celery cement ceremony chain chalk champion charity cheek chef cherry chest chicken chimney chin "
    "chip chocolate choir church cinema circle circus citizen clay cleaner clerk cliff climate clock closet cloth cloud clown coal coast cobweb cocoa coconut coin collar "
    "college colony column comb comedy committee company compass computer concrete cone conference console contest contract cookie copper coral cord corn corner corridor couch "
    "council counter couple court cousin cover crab cradle craft crane cream creek cricket crime crop cross crow crowd crown cucumber cupboard curtain curve cushion customer "
    "cyclist dairy dam dance dancer dawn dealer deer dentist deposit desert dessert detective device dial diamond diary dictionary dinner diploma director disc disease display "
    "district ditch diver dock doll dollar dolphin donkey donor dough dove dragon drain drama drawer drawing dream dress drill drink driver drum duck dust eagle ear earth "
    "editor egg elbow election electrician elephant emperor employee entrance envelope episode equation eraser estate exit expert explorer eye fabric face factory fair falcon "
    "family farmer fashion father faucet feast feather feedback ferret fiddle fig figure filter finger fire fireplace firm fisherman flag flame flavour fleet flour flower "
    "flute foam fog folder food foot football ford forecast fork fort fossil fox frame freight friend frog frost fruit fuel funnel fur furnace furniture galaxy gallery gallon "
    "garage garbage garlic garment gas gear gem giant ginger girl giraffe glove glue goal goat goose gown grain grandmother grape grass gravel grill grocery ground group guard "
    "guest guitar gum gutter gym hail hair hall hammer hamster hand handle hanger harp harvest hawk hay head headphone health hedge heel helicopter helmet hen herb hero heron "
    "hill hip hive hobby hockey hole holiday home hood hook horn hospital host hostel hound household hunter hut ice idea index infant ink insect insurance interview iris ivy "
    "jacket jar jaw jazz jeans jelly jewel jug jungle jury kettle keyboard king kite kitten knee knight knot lab label labour lace ladder lady lamb lane laser laundry lawn "
    "lawyer lead leaf leg legend letterbox lettuce librarian library lid lighthouse lily limb line lion lip liquid list litter lizard llano load lobby lobster locker "
    "locomotive log logo loop lorry lunch lung machine magazine magician maid mailbox mall manager mango map maple marathon marble mask mat mattress mayor meadow meat mechanic "
    "melody melon member memory menu merchant meteor meter mill miner minister mint missile mitten mixer mole money monk monkey monster monument moon mosque moss motel moth "
    "mother motor mouse moustache mouth mud muffin mule muscle mushroom music musician nail napkin necklace needle neighbour nest net newspaper niece noodle nose notebook "
    "notice novel nut oak oar ocean octopus office officer olive opera orange orbit orchard orchestra organ ostrich otter oven owl ox oyster package page pail palace palm pan "
    "panda panel parade parent park parrot parsley partner party pasta paste pastry path pavement paw pea peach peacock peak peanut pearl pebble pedal pelican penguin pension "
    "pepper perfume pet photograph pianist picnic picture pie pig pigeon pillar pillow pilot pin pine pipe pizza planner plaster plastic platform plaza plot plough plum "
    "plumber pocket poem poet pole police pond pony pool poppy porch portrait post poster pot pottery powder prawn present president prince princess printer prison prize "
    "professor program project propeller pudding pulley pumpkin puppet puppy pupil purse puzzle pyramid quail queen queue quilt rabbit raccoon racket radar radio radish raft "
    "rail rain rainbow ranch raven razor receipt recorder referee reindeer reptile rescue reservoir resident rhythm ribbon rider rifle rim rink road roast robe robin rod roll "
    "rooster root rope rose rowboat rubber rug rum runner sack saddle safe sail sailor salmon salon sand sandal sandwich sapling sardine satchel sauce saucer sauna sausage saw "
    "saxophone scale scarf scene scholar scientist scissors scooter score screw sculpture sea seal season seat secretary seed senator servant shark shed sheet shelf shell "
    "shelter shepherd sherry shield shopper shore shoulder shovel shower shrimp shrub shuttle sign silk singer sink sister skate sketch ski skirt skull slave sled sleeve slide "
    "slipper slope snail snake soap soccer sock sofa soil soldier son sound spade spark sparrow speaker spear spider spinach sponge sport spot spring squad square squirrel "
    "stable stadium staff stage stair stall statue steak steam steel stem stew stick stomach stool storm stove strap straw strawberry stream string studio subway suit suitcase "
    "summer sunflower supper surgeon surgery swamp swan sweater swimmer swing sword syrup tablet tail tailor tape target tart taxi team tenant tennis tent terminal terrace "
    "territory textile theory thermometer thief thread throat throne thumb tide tie tiger tile timber tin toast tobacco toe toilet tomato tongue tool tooth torch tornado towel "
    "track tractor trader trail trailer trainer tram trap tray treasure tribe tricycle trolley trombone trophy trousers trumpet trunk tub tube tulip tuna tunnel turkey turnip "
    "turtle tutor tyre umbrella uncle uniform union university vacation valley valve van vase vault vegetable vehicle veil vest vet victim vine vinegar violet visitor voice "
    "volcano voucher waffle wagon waist waiter wallet walnut warehouse warrior wasp watch waterfall watermelon wave wax weapon web wedding weed whale wheat wheelchair whip "
    "whistle widow wife wig wildlife willow winch windmill wing winner winter wire witch witness wolf woman wood workshop worm wound wrench wrist writer yard yarn yogurt zebra "
    "zipper zoo "
).split()
MORE_VERBS = (
    "accept adjust admit advertise analyse announce apply arrange arrest ask attach attend avoid ban beat begin bend bind bless boil bury catch cheer choose chop climb collect "
    "command complain confirm connect consult contact continue control cool correct cover crush cure dance decorate dig dive donate drain draw drill drive drop dry dye eject "
    "embed empty encrypt engrave enter escort examine exchange expand explain export extend fasten fax fill finish fire fix flag flip float fold forward freeze fry gather glue "
    "grab grade grill grind guard guess guide hang harvest heat hide hold hunt import improve include increase inform inject inspect insure invest iron judge juggle jump kick "
    "knit label land launch learn license lower mark melt mend mine mix monitor mount name negotiate nominate note occupy offer operate park paste peel phone photograph pick "
    "place plough polish post pour practise preserve press produce promise propose protect prove punch purchase question raise reach receive recommend reduce refill refuse "
    "reject relax release renew replay request rescue research retire reverse revise ride rinse roast rob roll rotate row rub ruin scrub seal search sell serve sew shake share "
    "sharpen shave shoot shorten shout shut sign sketch slice smoke solve sort spell spin split spray squeeze steer sterilise stir store strip supply support survey suspend "
    "swap sweep swim teach tear test throw tie tighten tow trade train transport trim tutor type unload unpack vaccinate vote wake walk warm warn wave weave weigh whip wipe "
    "wrap "
).split()
ATTRS = (
    "weight height length width depth_m size age colour_code temperature humidity pressure distance duration cost value balance score rank rating status state version owner_name "
    "author_name title address email phone capacity stock_count population area density voltage power energy range limit schedule forecast history summary definition meaning "
    "translation synonym currency rate interest salary tax_rate arrival departure delay queue_length opening_hours manager nickname birthday location region_code language "
    "brightness volume tempo genre price_tag calories protein vitamin acidity salinity viscosity hardness melting_point wind rainfall visibility traffic"
).split()
PREPOSITIONS = ["in", "at", "for", "of", "from", "to", "near", "with", "on", "by", "under", "over", "around"]
NAMES = (
    "Anna Ben Clara David Emma Felix Greta Hugo Ida Jonas Karin Leo Maria Noah Olga Paul Rosa Simon Tina Viktor Wendy Yusuf Zoe Amir Bella Carlos Diana Erik Fatima George Hanna "
    "Ivan Julia Kenji Laura Marco Nadia Oscar Priya Quentin Raj Sofia Tom Uma Vera Walter Xenia Yara Alice Bob Carol Dan Eve Frank Grace Henry Irene Jack Kate Liam Mia Nina"
).split()
PLACES = (
    "Paris Berlin London Rome Madrid Oslo Vienna Prague Tokyo Beijing Shanghai Sydney Boston Chicago Dallas Denver Seattle Toronto Lima Cairo Nairobi Delhi Mumbai Seoul Hanoi "
    "Lisbon Dublin Warsaw Helsinki Munich Hamburg Lyon Milan Naples Geneva Zurich Basel Porto Seville Athens Istanbul Dubai Havana Austin Houston Miami Atlanta Phoenix Portland"
).split()
COMMON = (
    "the a and or but so then when while because if that this these those it he she they we you I not no yes very quite rather also again soon later never always often "
    "red blue green yellow white black brown grey small large long short old new young warm cold wet dry quiet loud bright dark early late slow fast easy hard soft sweet sour "
    "man woman child friend neighbour morning evening night week month year minute moment door street river hill house room kitchen garden bread tea letter song story word line "
    "went came saw took gave made found left kept told asked walked ran stood sat slept waited opened closed carried counted wrote read heard thought knew felt said "
    "return self def class import value index range list dict result data name file path error config test run time print for else try with lambda async await yield true false none "
    "under over between behind beside before after during without about into through across along toward upon near far here there up down out off away back home one two three four "
    "five six seven eight nine ten many few some any each every all most more less other another same different first second last next good bad better best great little much"
).split()
SYLLABLES = (
    "ba be bi bo bu da de di do du fa fe fi fo ga ge go ha he hi ho ja je jo ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu pa pe pi po ra re ri ro ru sa se si so su "
    "ta te ti to tu va ve vi vo wa we wi xa xo ya yo za ze zi zo bra cre dri fro gla kle plo pra sti stra tro vlo chi sha tho phe quo zan tor mel rin gar lun vek dol mar sten "
    "berg ville ton ford wick holm burg stad field wood ran kel mor tis nex val or en ar us ix um ium ela ina oso ard ett ick oom aft elm irk ond ust ay ee oa ou ai sch tz ck"
).split()
NOUNS = sorted({*NOUNS, *MORE_NOUNS} - HELD_BACK - {"guest"})
VERBS = sorted({*VERBS, *MORE_VERBS} - HELD_BACK)
LISTED = [word for word in {*VERBS, *NOUNS, *COMMON, *(name.lower() for name in (*NAMES, *PLACES))} if len(word) > 2]
LISTED.sort()
LETTERS = "abcdefghijklmnopqrstuvwxyz"

WORLD = (
    "the sky|the sun|the moon|the stars|love|life|death|war|music|art|football|Einstein|Newton|Mozart|Shakespeare|Napoleon|dinosaurs|photosynthesis|gravity|evolution|black holes|Java|HTML|"
    "a sorting algorithm|recursion|bitcoin|the stock market|democracy|Europe|Africa|America|the president|the king|the queen|pizza|sushi|chocolate|bananas|cats|dogs|birds|whales|bees|trees|"
    "the ocean|a volcano|an earthquake|rain|wind|electricity|magnets|computers|the internet|the telephone|cars|airplanes|bicycles|poker|the Olympics|the world cup|Christmas|Easter|philosophy|"
    "religion|heaven|the brain|the heart|DNA|a virus|a vaccine|medicine|money|happiness|friendship|school|homework|sleep|dreams|colours|the rainbow|ice cream|coffee|tea|wine|cheese|"
    "mathematics|physics|chemistry|biology|geography|Mars|Jupiter|rockets|robots|Star Wars|Harry Potter|a car engine|a refrigerator|a pyramid|the Roman empire|the Great Wall|a castle|a dragon|"
    "birds singing|the colour blue|a good breakfast|my homework|Python code|a website|a business plan|a cover letter|my garden|the best phone|a holiday|exercise|yoga|a diet|a headache"
).split("|")
WORLD_ZH = (
    "天空|太阳|月亮|星星|爱情|人生|战争|音乐|艺术|足球|爱因斯坦|牛顿|莫扎特|莎士比亚|拿破仑|恐龙|光合作用|引力|进化|黑洞|排序算法|递归|比特币|股市|民主|欧洲|非洲|美国总统|国王|披萨|寿司|巧克力|香蕉|猫|狗|鸟|鲸鱼|蜜蜂|"
    "海洋|火山|地震|电|磁铁|电脑|互联网|电话|飞机|自行车|奥运会|世界杯|春节|哲学|宗教|大脑|心脏|病毒|疫苗|金钱|幸福|友谊|作业|睡眠|梦|彩虹|冰淇淋|数学|物理|化学|火星|火箭|长城|城堡|龙|一段代码|网站|商业计划|减肥|头痛|旅行|红烧肉|唐诗|李白|三国演义"
).split("|")
"""What people ask about and this model has never heard of."""

SURNAMES_ZH = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
PLACES_ZH = "北京 上海 广州 深圳 杭州 南京 成都 武汉 西安 重庆 天津 苏州 长沙 青岛 大连 厦门 昆明 郑州 济南 福州 合肥 南昌 贵阳 兰州 海口 三亚 桂林 丽江 拉萨 香港 澳门 台北 东京 巴黎 伦敦 纽约".split()
NOUNS_ZH = (
    "天气 订单 账户 用户 客户 产品 包裹 信件 消息 笔记 任务 项目 会议 日程 提醒 闹钟 歌曲 专辑 电影 演员 图书 作者 文章 菜谱 餐厅 酒店 房子 花园 大树 鲜花 农场 小狗 小猫 桥梁 公路 公交 汽车 卡车 轮船 飞机 机场 城市 村庄 岛屿 高山 湖泊 "
    "森林 海滩 公园 学校 老师 课程 考试 医生 病人 诊所 药品 银行 贷款 股票 基金 税款 预算 工资 工作 团队 办公室 桌子 椅子 台灯 窗户 厨房 烤箱 冰箱 水泵 发动机 轮胎 电池 电缆 传感器 相机 屏幕 手机 电脑 服务器 集群 容器 镜像 文件 文件夹 文档 照片 "
    "视频 频道 网站 域名 证书 密码 日志 指标 警报 分支 版本 模型 数据集 报告 图表 地图 路线 旅行 导游 音乐会 剧院 比赛 球员 教练 商店 市场 优惠券 礼物 玩具 衬衫 鞋子 大衣 帽子 面包 奶酪 苹果 土豆 米饭 汤 蛋糕 咖啡 牛奶 果汁 机器人 卫星 火箭 行星 望远镜 "
    "显微镜 水晶 铜矿 木材 玻璃 棉花 羊毛 皮革 围栏 屋顶 水井 仓库 工厂 码头 矿山 果园 渔船 风车 雕像 合同 发票 邮件 客房 车库 泳池"
).split()
MORE_ZH = (
    "火锅 水果 蔬菜 海鲜 面馆 茶馆 书店 超市 菜场 邮局 派出所 消防 救护车 地铁 高铁 码头 隧道 停车场 加油站 充电桩 路灯 红绿灯 喷泉 广场 小区 宿舍 教室 操场 图书 实验室 食堂 食谱 早餐 午餐 晚餐 零食 饮料 白酒 啤酒 牙膏 毛巾 肥皂 洗衣机 空调 电视 "
    "音响 耳机 键盘 鼠标 打印机 路由 硬盘 内存 芯片 软件 程序 代码 接口 数据库 账单 发货 快件 运费 保险 护照 签证 身份证 驾照 户口 学费 奖学金 作业 论文 成绩 班级 校车 同学 校长 工程师 律师 会计 厨师 司机 快递员 保安 记者 作家 画家 歌手 舞蹈 "
    "钢琴 吉他 小提琴 鼓 画展 展览 电台 节目 新闻 报纸 杂志 小说 诗歌 漫画 游戏 象棋 围棋 篮球 足球 乒乓球 羽毛球 游泳 跑步 登山 滑雪 露营 钓鱼 骑马 宠物 金鱼 兔子 老虎 熊猫 大象 猴子 鸽子 老鹰 蝴蝶 蜜蜂 竹子 松树 荷花 玫瑰 菊花 草坪 盆栽 "
    "沙漠 草原 瀑布 峡谷 火山 冰川 海湾 港湾 潮汐 台风 暴雨 雷电 霜冻 彩虹 日出 日落 月食 流星 空间站 飞船 雷达 天线 信号塔 变压器 水表 电表 煤气 暖气 窗帘 地毯 沙发 衣柜 书架 灯泡 插座 门锁 钥匙 梯子 锤子 螺丝 油漆 水泥 砖块 钢筋 瓷砖"
).split()
NOUNS_ZH = sorted({*NOUNS_ZH, *MORE_ZH})
ATTRS_ZH = (
    "重量 高度 长度 宽度 大小 年龄 颜色 温度 湿度 压力 距离 时长 费用 余额 得分 排名 评分 状态 版本 主人 标题 地址 电话 容量 库存 人口 面积 密度 电压 功率 里程 上限 预报 历史 摘要 定义 翻译 汇率 利率 到达时间 出发时间 延误 负责人 生日 位置 语言 亮度 音量 类型 "
    "蛋白质 酸度 盐度 硬度 熔点 风力 降雨量 能见度 路况 产量 寿命 保质期 尺寸 质量 信号 进度 销量 热度"
).split()
VERBS_ZH = "打开 关闭 启动 停止 发送 预约 购买 出售 播放 暂停 取消 安排 跟踪 测量 转换 比较 打印 扫描 复制 移动 重启 重置 锁定 解锁 启用 停用 批准 拒绝 提交 发布 通知 邀请 检查 登记 保存 清洗 修理 更换 借出 归还 付款 转移 修剪 搬运 建造 预订 租用 点亮 查看 添加 删除".split()
COMMON_ZH = (
    "今天 昨天 明天 早上 晚上 夜里 下午 朋友 邻居 孩子 老人 先生 女士 小船 河边 街道 山上 门口 桥下 窗前 花园 雨水 阳光 月亮 星星 风 雪 慢慢 悄悄 忽然 终于 总是 常常 一起 走过 看见 听到 想起 写下 打开 放下 带来 数着 等着 笑着 说 问 红色 蓝色 绿色 "
    "旧的 新的 小小的 长长的 安静的 热闹的 一本书 一封信 一盏灯 一杯茶 一首歌 三只鸟 两条路 火车 车站 面包 苹果 故事 句子 和 在 从 到 的 了 着 又 再 就 都 也"
).split()
HAN = [
    bytes((row, cell)).decode("gb2312")
    for row in range(0xB0, 0xD8)
    for cell in range(0xA1, 0xFF)
    if (row, cell) < (0xD7, 0xFA)
]
"""The 3,755 characters of GB 2312's first level: names copied from a prompt may hold any of them."""


def word(rng: Random) -> str:
    """A lower-case word that most likely does not exist."""
    while True:
        draw = rng.random()
        if draw < 0.12:
            made = "".join(rng.choices(LETTERS, k=rng.randint(2, 7)))
        elif draw < 0.45:  # the head of one word and the tail of another
            head, tail = rng.choice(LISTED), rng.choice(LISTED)
            made = head[: rng.randint(2, len(head))] + tail[rng.randrange(len(tail)) :]
        else:
            made = "".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 2, 3, 3, 4))))
        if made not in HELD_BACK:
            return made


def noun(rng: Random) -> str:
    """A thing: listed or made up."""
    return rng.choice(NOUNS) if rng.random() < 0.65 else word(rng)


def proper(rng: Random) -> str:
    """A name as people write it: one to three words, mostly capitalised."""
    draw = rng.random()
    if draw < 0.15:
        return rng.choice(NAMES)
    if draw < 0.3:
        return rng.choice(PLACES)
    if draw < 0.4:
        return f"{rng.choice(NAMES)} {word(rng).capitalize()}"
    if draw < 0.75:
        return word(rng).capitalize()
    if draw < 0.9:
        return f"{word(rng).capitalize()} {word(rng).capitalize()}"
    if draw < 0.95:
        return f"{word(rng).capitalize()} {rng.randint(1, 99)}"
    return word(rng)


def code(rng: Random) -> str:
    """An identifier such as QX-4471, P0482913, B12 or 12-771."""
    letters = "".join(rng.choices(LETTERS.upper(), k=rng.randint(1, 3)))
    digits = "".join(rng.choices("0123456789", k=rng.randint(1, 7)))
    return rng.choice(
        (
            f"{letters}-{digits}",
            f"{letters}{digits}",
            f"{letters}_{digits}",
            f"{digits}-{rng.randint(0, 999)}",
            f"{letters.lower()}{digits}",
            digits + letters,
            f"{letters}-{digits}-{rng.randint(0, 99)}",
        )
    )


def date(rng: Random) -> str:
    return f"{rng.randint(2019, 2035)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def clock(rng: Random) -> str:
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"


def address(rng: Random) -> str:
    """A mail address."""
    return f"{word(rng)}{rng.choice(('', '.', '_'))}{word(rng)}@{word(rng)}.{rng.choice(('com', 'org', 'net', 'example.org', 'de', 'cn', 'io'))}"


def phrase(rng: Random, low: int = 2, high: int = 6) -> str:
    """Some words without sense."""
    return " ".join(rng.choice(COMMON) if rng.random() < 0.7 else word(rng) for _ in range(rng.randint(low, high)))


def proper_zh(rng: Random) -> str:
    draw = rng.random()
    if draw < 0.2:
        return rng.choice(PLACES_ZH)
    if draw < 0.4:
        return rng.choice(SURNAMES_ZH) + "".join(rng.choices(HAN, k=rng.randint(1, 2)))
    return "".join(rng.choices(HAN, k=rng.choice((2, 2, 2, 3, 3, 4))))


def noun_zh(rng: Random) -> str:
    """A thing in Chinese: listed or made up."""
    return rng.choice(NOUNS_ZH) if rng.random() < 0.65 else "".join(rng.choices(HAN, k=rng.choice((2, 2, 3))))


def phrase_zh(rng: Random, low: int = 2, high: int = 6) -> str:
    return "".join(
        rng.choice(COMMON_ZH) if rng.random() < 0.8 else "".join(rng.choices(HAN, k=2))
        for _ in range(rng.randint(low, high))
    )
