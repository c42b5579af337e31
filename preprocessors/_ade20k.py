"""The 150 classes of ADE20K's scene parsing challenge, in order: colour in hex, then names.

Source: MIT's scene parsing benchmark; the colours are those that segmentation ControlNets learned.
road and skyscraper share one.
"""

from __future__ import annotations

TABLE = """
787878 wall
b47878 building
06e6e6 sky
503232 floor
04c803 tree
787850 ceiling
8c8c8c road, route
cc05ff bed
e6e6e6 window
04fa07 grass
e005ff cabinet
ebff07 sidewalk, pavement
96053d person
787846 earth, ground
08ff33 door
ff0652 table
8fff8c mountain, mount
ccff04 plant
ff3307 curtain
cc4603 chair
0066c8 car
3de6fa water
ff0633 painting, picture
0b66ff sofa
ff0747 shelf
ff09e0 house
0907e6 sea
dcdcdc mirror
ff095c rug
7009ff field
08ffd6 armchair
07ffe0 seat
ffb806 fence
0aff47 desk
ff290a rock, stone
07ffff wardrobe, closet, press
e0ff08 lamp
6608ff tub
ff3d06 rail
ffc207 cushion
ff7a08 base, pedestal, stand
00ff14 box
ff0829 column, pillar
ff0599 signboard, sign
0633ff chest of drawers, chest, bureau, dresser
eb0cff counter
a09614 sand
00a3ff sink
8c8c8c skyscraper
fa0a0f fireplace
14ff00 refrigerator, icebox
1fff00 grandstand, covered stand
ff1f00 path
ffe000 stairs
99ff00 runway
0000ff case, display case, showcase, vitrine
ff4700 pool table, billiard table, snooker table
00ebff pillow
00adff screen door, screen
1f00ff stairway, staircase
0bc8c8 river
ff5200 bridge, span
00fff5 bookcase
003dff blind, screen
00ff70 coffee table
00ff85 toilet, can, commode, crapper, pot, potty, stool, throne
ff0000 flower
ffa300 book
ff6600 hill
c2ff00 bench
008fff countertop
33ff00 stove
0052ff palm, palm tree
00ff29 kitchen island
00ffad computer
0a00ff swivel chair
adff00 boat
00ff99 bar
ff5c00 arcade machine
ff00ff hovel, hut, hutch, shack, shanty
ff00f5 bus
ff0066 towel
ffad00 light
ff0014 truck
ffb8b8 tower
001fff chandelier
00ff3d awning, sunshade, sunblind
0047ff street lamp
ff00cc booth
00ffc2 tv
00ff52 plane
000aff dirt track
0070ff clothes
3300ff pole
00c2ff land, ground, soil
007aff bannister, banister, balustrade, balusters, handrail
00ffa3 escalator, moving staircase, moving stairway
ff9900 ottoman, pouf, pouffe, puff, hassock
00ff0a bottle
ff7000 buffet, counter, sideboard
8fff00 poster, posting, placard, notice, bill, card
5200ff stage
a3ff00 van
ffeb00 ship
08b8aa fountain
8500ff conveyer belt, conveyor belt, conveyer, conveyor, transporter
00ff5c canopy
b800ff washer, automatic washer, washing machine
ff001f plaything, toy
00b8ff pool
00d6ff stool
ff0070 barrel, cask
5cff00 basket, handbasket
00e0ff falls
70e0ff tent
46b8a0 bag
a300ff minibike, motorbike
9900ff cradle
47ff00 oven
ff00a3 ball
ffcc00 food, solid food
ff008f step, stair
00ffeb tank, storage tank
85ff00 trade name
ff00eb microwave
f500ff pot
ff007a animal
fff500 bicycle
0abed4 lake
d6ff00 dishwasher
00ccff screen
1400ff blanket, cover
ffff00 sculpture
0099ff hood, exhaust hood
0029ff sconce
00ffcc vase
2900ff traffic light
29ff00 tray
ad00ff trash can
00f5ff fan
4700ff pier
7a00ff crt screen
00ffb8 plate
005cff monitor
b8ff00 bulletin board
0085ff shower
ffd600 radiator
19c2c2 glass, drinking glass
66ff00 clock
5c00ff flag
"""
