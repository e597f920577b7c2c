"""Which of ImageNet's classes a stamp shows: a table made by hand, before any network had seen a stamp.

How it was made: a stamp is asked where exactly one of the 1,000 classes fits what its picture shows. That is the class
of its name (a hen is class 8, hen), or the one class of its kind where the species has none of its own: the owl is
great grey owl, the horse is sorrel, the red kangaroo is wallaby, as nothing nearer can be answered. A stamp is not asked where no
class fits (a giraffe, a rose), where two do (corn is also ear; a red open two-seater is convertible and sports car; the
dog could be three breeds), or where it is the mirror image of another.

Photos are told from drawings by looking: all below a folder `cartoon` are drawings, and so are those that
`DRAWN` lists.
"""

from __future__ import annotations

from collections.abc import Mapping

# Class number (as in ILSVRC 2012, from 0) → its name, and the stamps that show it, below /usr/share/tuxpaint/stamps.
CLASSES: Mapping[int, tuple[str, str]] = {
    7: ("cock", "animals/birds/rooster"),
    8: ("hen", "animals/birds/hen animals/birds/chicken_profile"),
    9: ("ostrich", "animals/birds/ostrich animals/birds/nandou"),
    18: ("magpie", "animals/birds/magpie"),
    23: ("vulture", "animals/birds/vulture"),
    24: ("great grey owl", "animals/birds/owl"),
    39: ("common iguana", "animals/lizards/iguana"),
    84: ("peacock", "animals/birds/peacock"),
    90: ("lorikeet", "animals/birds/rainbow-lorikeet"),
    96: ("toucan", "animals/birds/tucan"),
    97: ("drake", "animals/birds/drake animals/birds/duck"),
    99: ("goose", "animals/birds/gander"),
    102: ("echidna", "animals/mammals/echidna"),
    104: ("wallaby", "animals/marsupials/kangaroo animals/marsupials/cartoon/kangaroo-silo"),
    105: ("koala", "animals/marsupials/koala"),
    106: ("wombat", "animals/marsupials/wombat"),
    113: ("snail", "animals/insects/cartoon/snail animals/insects/cartoon/snail2"),
    114: ("slug", "animals/insects/Brown_slug"),
    123: ("spiny lobster", "animals/fish/lobster"),
    126: ("isopod", "animals/insects/Woodlouse"),
    130: ("flamingo", "animals/birds/pink_flamingo"),
    131: ("little blue heron", "animals/birds/heron_greatblue animals/birds/heron_greatblue_flying"),
    134: ("crane", "animals/birds/crowned_crane"),
    144: ("pelican", "animals/birds/pelican"),
    145: (
        "king penguin",
        "animals/birds/penguin animals/birds/little-penguin animals/birds/magellanic_penguin"
        " animals/birds/cartoon/tux animals/birds/cartoon/pengwin",
    ),
    148: ("killer whale", "animals/mammals/aquatic/orca"),
    150: ("sea lion", "animals/mammals/aquatic/sea_lion"),
    273: ("dingo", "animals/mammals/dogs/dingo"),
    277: ("red fox", "animals/mammals/dogs/fox"),
    291: ("lion", "animals/mammals/cats/lion animals/mammals/cats/lion-2 animals/mammals/cats/cartoon/lion"),
    292: ("tiger", "animals/mammals/cats/tiger animals/mammals/cats/tiger_sumatran"),
    294: ("brown bear", "animals/mammals/bears/european-bear"),
    301: ("ladybug", "animals/insects/cartoon/ladybug animals/insects/cartoon/ladybug-2"),
    308: ("fly", "animals/insects/fly animals/insects/cartoon/fly"),
    309: ("bee", "animals/insects/bee"),
    311: ("grasshopper", "animals/insects/grasshopper"),
    315: ("mantis", "animals/insects/mantis"),
    319: ("dragonfly", "animals/insects/cartoon/dragonfly"),
    323: ("monarch", "animals/insects/cartoon/butterfly"),
    335: ("fox squirrel", "animals/mammals/rodents/squirrel"),
    336: ("marmot", "animals/mammals/rodents/marmot"),
    337: ("beaver", "animals/mammals/rodents/beaver"),
    339: ("sorrel", "animals/mammals/equines/horse"),
    340: ("zebra", "animals/mammals/equines/zebra"),
    341: ("hog", "animals/mammals/pig animals/mammals/pig_golden animals/mammals/pig_golden2"),
    342: ("wild boar", "animals/mammals/wildboar"),
    344: ("hippopotamus", "animals/mammals/hippopotamus"),
    345: (
        "ox",
        "animals/mammals/bovines/bull animals/mammals/bovines/cow animals/mammals/bovines/cow_white"
        " animals/mammals/bovines/zebu",
    ),
    347: ("bison", "animals/mammals/bovines/bison"),
    348: ("ram", "animals/mammals/bovines/ram animals/mammals/bovines/sheep"),
    354: ("Arabian camel", "animals/mammals/camel/dromedary animals/mammals/camel/camel"),
    360: ("otter", "animals/mammals/aquatic/otter"),
    362: ("badger", "animals/mammals/badger"),
    366: ("gorilla", "animals/mammals/apes/gorilla"),
    367: ("chimpanzee", "animals/mammals/apes/chimp"),
    386: ("African elephant", "animals/mammals/elephant"),
    393: ("anemone fish", "animals/fish/clownfish"),
    396: ("lionfish", "animals/fish/lionfish"),
    402: ("acoustic guitar", "hobbies/music/string/guitar_classical"),
    404: ("airliner", "vehicles/flight/planes/747 vehicles/flight/planes/cartoon/plane"),
    412: ("ashcan", "household/garbagecan household/wheelie_bin"),
    417: ("balloon", "vehicles/flight/balloon360"),
    419: ("Band Aid", "medical/bandage_adhesive"),
    430: ("basketball", "sports/basketball"),
    432: ("bassoon", "hobbies/music/wind/bassoon"),
    447: ("binoculars", "hobbies/binoculars"),
    470: ("candle", "seasonal/candle seasonal/hanukkah/holiday_candle"),
    477: ("carpenter's kit", "household/tools/toolbox"),
    479: ("car wheel", "vehicles/7spoke256"),
    483: ("castle", "town/houses/cartoon/fairytale_castle town/houses/cartoon/fortress"),
    486: ("cello", "hobbies/music/string/cello"),
    496: ("Christmas stocking", "seasonal/christmas/stocking"),
    497: ("church", "town/houses/cartoon/cathedral"),
    504: ("coffee mug", "household/dishes/mug"),
    513: ("cornet", "hobbies/music/brass/trumpet"),
    541: ("drum", "hobbies/music/percussion/drum_tomtom_floor hobbies/music/percussion/drumkit"),
    546: (
        "electric guitar",
        "hobbies/music/string/guitar2 hobbies/music/string/guitar_electric hobbies/music/string/guitar_electric_bass",
    ),
    555: ("fire engine", "vehicles/emergency/firetruck vehicles/emergency/cartoon/fire_engine"),
    560: ("football helmet", "sports/cartoon/football_helmet_front sports/cartoon/football_helmet_side"),
    562: ("fountain", "town/cartoon/fountain"),
    565: ("freight car", "vehicles/locomotive/cartoon/boxcar vehicles/locomotive/cartoon/tanker"),
    569: ("garbage truck", "vehicles/garbagetruck"),
    587: ("hammer", "household/tools/hammer household/tools/mallet_metal"),
    607: ("jack-o'-lantern", "seasonal/halloween/jackolantern_mean"),
    610: ("jersey", "clothes/t_tshirt clothes/t_poloshirt"),
    637: ("mailbox", "town/uk_post_box town/usps_mailbox"),
    649: ("megalith", "town/monuments/cartoon/magic_stones"),
    663: ("monastery", "town/houses/cartoon/monastery"),
    672: ("mountain tent", "town/houses/cartoon/tent"),
    682: ("obelisk", "town/monuments/cartoon/obelisk"),
    696: ("paintbrush", "household/tools/paintbrush_large"),
    701: ("parachute", "military/paratrooper"),
    705: ("passenger car", "vehicles/locomotive/cartoon/carriage"),
    717: ("pickup", "vehicles/auto/truck"),
    725: ("pitcher", "household/dishes/pitcher_small"),
    751: ("racer", "vehicles/race/indycar"),
    752: ("racket", "sports/tennis_racket"),
    759: ("reflex camera", "hobbies/camera_35mm"),
    768: ("rugby ball", "sports/football sports/australian_rules_football"),
    769: ("rule", "household/tools/measuring_tape"),
    792: ("shovel", "household/tools/spade"),
    805: ("soccer ball", "sports/soccer"),
    806: ("sock", "clothes/t_sock"),
    808: ("sombrero", "clothes/hats/sombrero"),
    820: ("steam locomotive", "vehicles/locomotive/cartoon/toy_train"),
    823: ("stethoscope", "medical/stethoscope"),
    833: ("submarine", "vehicles/ship/cartoon/bathyscape"),
    845: ("syringe", "medical/syringe"),
    847: ("tank", "military/vehicles/bradley military/vehicles/ww2_german_gun"),
    849: ("teapot", "household/dishes/teapot"),
    850: ("teddy", "animals/mammals/bears/toys/edward_bear animals/mammals/bears/cartoon/teddy_bear"),
    852: ("tennis ball", "sports/tennis_ball"),
    861: ("toilet seat", "household/toilet"),
    863: ("totem pole", "town/monuments/cartoon/totem"),
    864: ("tow truck", "vehicles/construction/cartoon/towTruck"),
    866: ("tractor", "vehicles/farming/cartoon/tux_tractor"),
    870: ("tricycle", "vehicles/cycle/pink_tricycle"),
    889: ("violin", "hobbies/music/string/violin"),
    890: ("volleyball", "sports/cartoon/volleyball"),
    895: ("warplane", "military/vehicles/f22_raptor"),
    913: ("wreck", "town/cartoon/shipwreck"),
    919: (
        "street sign",
        "town/roadsigns/dead_end_sign town/roadsigns/no_entry_sign town/roadsigns/no_uturn town/roadsigns/school_sign"
        " town/roadsigns/stop town/roadsigns/give_way_sign town/roadsigns/yield town/roadsigns/roundabout"
        " town/roadsigns/crossroads town/roadsigns/t-junction town/roadsigns/xing_ped town/roadsigns/xing_school"
        " vehicles/locomotive/cartoon/trainSign",
    ),
    920: (
        "traffic light",
        "town/roadsigns/stoplight_01_red town/roadsigns/stoplight_02_yellow town/roadsigns/stoplight_03_green",
    ),
    937: ("broccoli", "food/vegetables/broccoli"),
    945: ("bell pepper", "food/vegetables/pepper food/vegetables/yellowpepper"),
    947: ("mushroom", "food/vegetables/mushroom"),
    948: ("Granny Smith", "food/fruit/apple_granny_smith food/fruit/apple_green"),
    949: ("strawberry", "food/fruit/strawberry food/fruit/Strawberry2 food/fruit/cartoon/strawberry"),
    950: (
        "orange",
        "food/fruit/orange food/fruit/orange_seville food/fruit/sliced_orange food/fruit/mandarine"
        " food/fruit/cartoon/orange",
    ),
    951: ("lemon", "food/fruit/lemon food/fruit/cartoon/lemon food/fruit/cartoon/lemon_slice"),
    953: ("pineapple", "food/fruit/pineapple food/fruit/cartoon/pineapple"),
    954: ("banana", "food/fruit/banana food/fruit/cartoon/banana"),
    956: ("custard apple", "food/fruit/cherimoya"),
    957: ("pomegranate", "food/fruit/pomegranate"),
    963: ("pizza", "food/pizza"),
    985: ("daisy", "plants/flowers/yellow-flower"),
    997: ("bolete", "plants/mushrooms/cep plants/mushrooms/cep-1 plants/mushrooms/cep-2"),
}

# Drawings that lie beside photos.
DRAWN = frozenset(
    """
    animals/insects/bee animals/mammals/echidna clothes/hats/sombrero clothes/t_poloshirt clothes/t_sock
    clothes/t_tshirt food/pizza seasonal/christmas/stocking seasonal/halloween/jackolantern_mean
    seasonal/hanukkah/holiday_candle town/roadsigns/crossroads town/roadsigns/give_way_sign town/roadsigns/roundabout
    town/roadsigns/stop town/roadsigns/stoplight_01_red town/roadsigns/stoplight_02_yellow
    town/roadsigns/stoplight_03_green town/roadsigns/t-junction town/roadsigns/xing_ped town/roadsigns/xing_school
    town/roadsigns/yield
    """.split()
)
