"""tree - the files of the source tree, and C with its comments and strings blanked out."""
import os
import re
import sys

SKIPPED = ('.git', '.cache', '__pycache__')


def files(*roots, ends=('',)):
    """Paths below roots whose names end in one of ends, sorted; build directories left out."""
    found = []
    for root in roots:
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(f for f in folders if f not in SKIPPED and not (
                folder in ('.', '') and f.startswith('build')))
            found += [os.path.normpath(os.path.join(folder, n)) for n in sorted(names)
                      if n.endswith(tuple(ends))]
    return found


def read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text, strings=True):
    """text with comments (and the inside of strings) as spaces: lines and columns stay."""
    def spaces(match):
        token = match.group(0)
        if token[0] == '/':
            return re.sub(r'[^\n]', ' ', token)
        return token[0] + ' ' * (len(token) - 2) + token[-1] if strings else token
    return TOKEN.sub(spaces, text)


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def allowed(name):
    """Rows `KEY  reason` of tools/checks/NAME.allow as a dictionary; a row without reason is an
    error."""
    rows = {}
    path = os.path.join('tools/checks', name + '.allow')
    if not os.path.exists(path):
        return rows
    for number, line in enumerate(read(path).splitlines(), 1):
        if not line.strip() or line.startswith('#'):
            continue
        key, _, reason = line.partition(' ')
        if not reason.strip():
            print(f'{path}:{number} gives no reason for {key}')
        rows[key] = reason.strip()
    return rows


def unused(name, rows, used):
    """Says which rows of NAME.allow match nothing any more."""
    for key in rows:
        if key not in used:
            print(f'tools/checks/{name}.allow: {key} is found no more: drop the row')


def build():
    return os.environ.get('MOAT_BUILD', 'build')


def die(why):
    print(why)
    sys.exit(1)
