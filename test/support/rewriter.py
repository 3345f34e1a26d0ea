"""Files of 5000 equal letters, rewritten by a temporary file and a rename, and names that move to and fro. Ends with its input."""
import os, select, sys

os.chdir(sys.argv[1])
os.makedirs('../e/moving', exist_ok=True)
n = 0
while True:
    n += 1
    letter = bytes([97 + n % 26]) * 5000
    for name in ('rewritten', 'second'):
        with open('.tmp', 'wb') as file:
            file.write(letter)
        os.rename('.tmp', name)
    with open('third', 'wb') as file:
        file.write(letter)
    os.rename('third', '../e/moving/third')
    os.rename('../e/moving/third', 'third')
    if n == 1:
        print('ready', flush=True)
    if select.select([0], [], [], 0.0005)[0]:
        break
