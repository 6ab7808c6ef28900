"""A few sentences in twelve languages other than English, written for this project, for the demo's
pages that the language filter has to find. A machine without language packs has no others."""

# fastText label -> (name of an encoding in use on the web, sentences)
SENTENCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "de": (
        "iso-8859-1",
        (
            "Am frühen Morgen lag noch Nebel über dem Fluss, und die Fähre fuhr sehr langsam.",
            "Der alte Bäcker öffnete seinen Laden, bevor die ersten Kinder zur Schule gingen.",
            "Auf dem Marktplatz verkaufte eine Frau Äpfel, Birnen und selbst gemachten Käse.",
            "Niemand wusste genau, warum die Turmuhr seit drei Wochen stehen geblieben war.",
            "Im Sommer wandern viele Gäste durch die Wälder und schlafen in kleinen Hütten am See.",
            "Die Bibliothek hat nun auch sonntags geöffnet, weil viele Leute danach fragten.",
            "Nach dem Regen roch der Garten nach Erde, und die Schnecken kamen aus dem hohen Gras.",
        ),
    ),
    "fr": (
        "iso-8859-1",
        (
            "Le petit train quitte la gare chaque matin à six heures et traverse toute la vallée.",
            "Les habitants du village ont décidé de réparer eux-mêmes le toit de la vieille école.",
            "Il faisait si froid cette nuit-là que l'eau de la fontaine avait gelé avant minuit.",
            "La boulangère connaît le nom de tous ses clients et leur demande des nouvelles.",
            "On dit que le phare est abandonné, mais quelqu'un y allume encore une lampe le soir.",
            "Pendant les vacances, les enfants construisent des cabanes au bord de la rivière.",
            "Nous avons attendu longtemps devant le musée, car la porte ne s'ouvrait pas.",
        ),
    ),
    "es": (
        "utf-8",
        (
            "La plaza del pueblo se llena de gente cuando termina la cosecha de la aceituna.",
            "Mi abuela guardaba las cartas en una caja de madera debajo de la cama.",
            "El barco salió del puerto con dos horas de retraso por culpa de la tormenta.",
            "Los vecinos plantaron árboles nuevos junto al camino que lleva a la ermita.",
            "Por la noche se oyen las ranas del estanque y el viento entre los pinos.",
            "El maestro explicó la lección otra vez porque nadie la había entendido bien.",
            "En invierno la niebla cubre el valle y los coches circulan muy despacio.",
        ),
    ),
    "it": (
        "iso-8859-1",
        (
            "Il vecchio mulino si trova in fondo alla strada, vicino a un ponte di pietra.",
            "Ogni domenica la famiglia si riunisce intorno al tavolo per un pranzo molto lungo.",
            "I pescatori tornano al porto quando il sole è già alto sopra le colline.",
            "Nella bottega del falegname c'è sempre un buon profumo di legno e di colla.",
            "La maestra ha chiesto ai bambini di disegnare la casa in cui vorrebbero vivere.",
            "Dopo la pioggia le vie della città brillavano sotto la luce dei lampioni.",
            "Nessuno ricordava più il nome del fiume che una volta attraversava il paese.",
        ),
    ),
    "pt": (
        "utf-8",
        (
            "A padaria da esquina abre às cinco da manhã e já tem gente à espera do pão.",
            "O rio encheu depois das chuvas e a ponte ficou fechada durante quatro dias.",
            "As crianças jogavam futebol na praia enquanto os pais preparavam o almoço.",
            "Ninguém soube explicar por que razão o sino da igreja tocou à meia-noite.",
            "O jardineiro plantou roseiras ao longo do muro e regou a horta antes do jantar.",
            "Na estação antiga funciona agora um pequeno museu sobre os caminhos de ferro.",
            "A minha tia escreve todos os anos uma carta comprida com as notícias da aldeia.",
        ),
    ),
    "ru": (
        "windows-1251",
        (
            "Ранним утром над рекой стоял туман, и паром шёл медленнее, чем обычно.",
            "Старый пекарь открывал лавку раньше, чем дети уходили в школу.",
            "На площади продавали яблоки, мёд и тёплые шерстяные варежки.",
            "Никто не знал, почему часы на башне остановились три недели назад.",
            "Летом в лесу много грибов, и по выходным сюда приезжают горожане.",
            "Библиотека теперь открыта и по воскресеньям, потому что об этом просили читатели.",
            "После дождя в саду пахло землёй, а на дорожках блестели лужи.",
        ),
    ),
    "zh": (
        "gb18030",
        (
            "清晨的河面上还有一层薄雾，渡船比平时开得慢一些。",
            "老面包师在孩子们上学之前就打开了店门，街上飘着香味。",
            "集市上有人卖苹果、梨子和自己做的豆腐，价钱都不贵。",
            "谁也不知道钟楼上的大钟为什么三个星期以前就停了。",
            "夏天有很多客人来山里散步，晚上住在湖边的小木屋里。",
            "图书馆现在星期天也开门，因为有许多读者提出了这个要求。",
            "雨停了以后，花园里有泥土的气味，小路上的水洼闪闪发亮。",
        ),
    ),
    "ja": (
        "shift_jis",
        (
            "早朝の川にはまだ霧がかかっていて、渡し船はいつもよりゆっくり進んだ。",
            "年老いたパン屋は、子どもたちが学校へ行く前に店を開ける。",
            "市場では女の人がりんごや梨、手作りの味噌を売っていた。",
            "塔の時計が三週間前に止まった理由は、だれも知らなかった。",
            "夏になると大勢の客が森を歩き、湖のそばの小屋に泊まる。",
            "図書館は読者の希望にこたえて、日曜日も開くことになった。",
            "雨が上がると庭は土のにおいがして、小道の水たまりが光っていた。",
        ),
    ),
    "ar": (
        "utf-8",
        (
            "في الصباح الباكر كان الضباب يغطي النهر وكانت العبارة تسير ببطء.",
            "يفتح الخباز العجوز دكانه قبل أن يذهب الأطفال إلى المدرسة.",
            "باعت امرأة في السوق التفاح والتمر والجبن الذي صنعته في بيتها.",
            "لم يعرف أحد لماذا توقفت ساعة البرج منذ ثلاثة أسابيع.",
            "في الصيف يأتي ضيوف كثيرون إلى الجبل ويبيتون في بيوت صغيرة قرب البحيرة.",
            "تفتح المكتبة أبوابها الآن يوم الجمعة أيضا لأن القراء طلبوا ذلك.",
            "بعد المطر فاحت رائحة الأرض في الحديقة ولمعت البرك على الطريق.",
        ),
    ),
    "th": (
        "utf-8",
        (
            "เช้าตรู่มีหมอกปกคลุมแม่น้ำ และเรือข้ามฟากแล่นช้ากว่าปกติ",
            "คนทำขนมปังเปิดร้านก่อนที่เด็กๆ จะเดินไปโรงเรียน",
            "ที่ตลาดมีผู้หญิงขายมะม่วง กล้วย และขนมที่ทำเองที่บ้าน",
            "ไม่มีใครรู้ว่าทำไมนาฬิกาบนหอคอยจึงหยุดเดินเมื่อสามสัปดาห์ก่อน",
            "ในฤดูร้อนมีนักท่องเที่ยวมาเดินป่าและพักในกระท่อมริมทะเลสาบ",
            "ห้องสมุดเปิดวันอาทิตย์ด้วย เพราะมีผู้อ่านขอมาเป็นจำนวนมาก",
            "หลังฝนตก สวนมีกลิ่นดิน และทางเดินก็มีน้ำขังเป็นประกาย",
        ),
    ),
    "hi": (
        "utf-8",
        (
            "सुबह-सुबह नदी पर कोहरा छाया था और नाव रोज़ से धीरे चल रही थी।",
            "बूढ़ा नानबाई बच्चों के स्कूल जाने से पहले अपनी दुकान खोल देता है।",
            "बाज़ार में एक औरत सेब, अमरूद और घर का बना अचार बेच रही थी।",
            "कोई नहीं जानता था कि मीनार की घड़ी तीन हफ़्ते पहले क्यों रुक गई।",
            "गर्मियों में बहुत से मेहमान पहाड़ों पर घूमने आते हैं और झील के पास ठहरते हैं।",
            "पुस्तकालय अब रविवार को भी खुलता है क्योंकि पाठकों ने इसकी माँग की थी।",
            "बारिश के बाद बगीचे से मिट्टी की ख़ुशबू आ रही थी और रास्ते चमक रहे थे।",
        ),
    ),
    "pl": (
        "iso-8859-2",
        (
            "Wczesnym rankiem nad rzeką unosiła się mgła, a prom płynął wolniej niż zwykle.",
            "Stary piekarz otwierał sklep, zanim dzieci poszły do szkoły.",
            "Na rynku kobieta sprzedawała jabłka, gruszki i domowy ser.",
            "Nikt nie wiedział, dlaczego zegar na wieży stanął trzy tygodnie temu.",
            "Latem wielu gości wędruje po lasach i nocuje w małych chatach nad jeziorem.",
            "Biblioteka jest teraz otwarta także w niedzielę, bo prosili o to czytelnicy.",
            "Po deszczu ogród pachniał ziemią, a na ścieżkach lśniły kałuże.",
        ),
    ),
}
