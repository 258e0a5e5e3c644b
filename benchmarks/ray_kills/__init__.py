"""Does embedding with Ray come to its end, and to the same bits, whoever is killed?"""
