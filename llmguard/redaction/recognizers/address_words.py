"""The words that mark streets, units and states, in the languages that business letters here are written in.

Each constant is a regex alternation without groups or anchors.
"""
# ruff: noqa: E501  # a regex is read in one piece

TRAILING_TYPES = (
    r"Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way|Close"
    r"|Crescent|Cres|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Trl|Alley|Gardens|Grove|Mews|Quay|Turnpike|Esplanade"
    r"|Expressway|Broadway|Row|Rd\.|STREET|ST|AVENUE|AVE|ROAD|RD|BLVD|LANE|DRIVE|COURT|PLACE|Wynd|Croft|Lodge|Embankment"
    r"|Straße|Strasse|Str|Weg|Platz|Allee|Gasse|straat|laan|gatan|gate|utca|út"
)
WEAK_TRAILING_TYPES = r"Park|Hill|Walk|Green|Loop|Plaza|Path|Pike|Run|Ridge|Point|Rise|View|Vale|Wharf|Gate|Bend|Cove|Bridge|Cross|Common|Farm|House"
LEADING_TYPES = (
    r"Rue|Avenue|Av|Ave|Boulevard|Bd|Place|Chemin|Route|Impasse|Allée|Quai|Square|Cours|Faubourg|Via|Viale|Piazza|Piazzale"
    r"|Corso|Vicolo|Largo|Contrada|Strada|Calle|C/|Avenida|Avda|Av\.|Plaza|Paseo|Camino|Carretera|Ctra|Carrer|Ronda|Rambla"
    r"|Travesía|Urbanización|Rua|Travessa|Praça|Estrada|Alameda|Rodovia|Vila|Ulica|ul|al|Aleja|Plac|pl|os|Bulevardul|Calea"
    r"|Jalan|Jl|Ulitsa|ulitsa|Naberezhnaya|Prospekt|Cesta|Třída|Náměstí|Kungsgatan|Am|Auf der|An der|Im|Zum|Zur"
)
COMPOUND_ENDS = (
    r"straße|strasse|straßen|str|weg|gasse|allee|platz|damm|ufer|chaussee|graben|steig|laan|straat|plein|dreef|kade|gracht"
    r"|singel|steenweg|gatan|vägen|gata|väg|gränd|torget|veien|vegen|veg|gaten|gade|vej|vænget|stræde|allé|katu|kuja|polku"
    r"|raitti|götu|gata|braut|vegur|utca|utcája|körút|rakpart|ulice|nám"
)
UNITS = r"Apt|Apartment|Suite|Ste|Unit|Flat|Room|Rm|Floor|Fl|Building|Bldg|Block|Lot|Appt|Wohnung|Whg|Piso|Depto|Int|Etage|Esc"
STATES = (
    r"AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA|PR|RI"
    r"|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|NSW|VIC|QLD|TAS|ACT|ON|QC|BC|AB|MB|SK|NS|NB|NL|PE|YT|NT|NU"
)
