#!/usr/bin/env bash
# The report of a real run in a browser: no error and no warning on its console, nothing asked of a network, no picture without a size, and no part
# that is wider than a phone.
. "$SOURCE_DIR/tests/cli/common.bash"
for browser in chromium chromium-browser google-chrome ''; do command -v "$browser" >/dev/null 2>&1 && break; done
[ -n "$browser" ] || skip "no chromium (on Debian: apt-get install chromium)"
command -v gnuplot >/dev/null || skip "no gnuplot (tools/setup.sh --run)"
# look FILE WIDTH: the page as it stands there, in dom; what the console said, in console
look() {
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --enable-logging=stderr --v=0 --window-size="$2,900" \
        --dump-dom "file://$work/$1" >dom 2>log || fail "the browser ended with $?: $(tail -n 3 log)"
    grep CONSOLE log >console || true
}
python3 -B -c 'import lzma, sys; sys.stdout.buffer.write(lzma.open(sys.argv[1]).read())' "$SOURCE_DIR/results/recorded/h200_contestants_5/contestants.db.xz" >h200.db
run 0 report s512 --store h200.db --out page.html

# What this test would see.
printf '<!DOCTYPE html><title>x</title><p>x</p><script>console.error("seen")</script>' >bad.html
look bad.html 1280
grep -q seen console || skip "$browser does not tell what its console says: $(tail -n 1 log)"

# Measured by a script that the page itself does not have.
measure='<script>
const wide = [...document.querySelectorAll("main *")].filter(x => !x.closest(".table") \&\& !x.closest("svg") \&\& x.getBoundingClientRect().right > innerWidth + 1);
const flat = [...document.querySelectorAll("svg")].filter(x => x.getBoundingClientRect().height < 80);
document.title = `wide ${wide.length} flat ${flat.length} pictures ${document.querySelectorAll("svg").length} width ${innerWidth} scroll ${document.documentElement.scrollWidth}`;
</script>'
sed "s|</body>|$(tr '\n' ' ' <<<"$measure")</body>|" page.html >measured.html
for width in 500 1280; do # 500: the narrowest that the window can be
    look page.html $width
    [ ! -s console ] || fail "at $width: $(cat console)"
    grep -q '<h2 id="sources">' dom || fail "the page is not whole"
    look measured.html $width
    title=$(sed -n 's/.*<title>\(wide [^<]*\)<.*/\1/p' dom | head -n 1)
    [[ $title =~ ^wide\ 0\ flat\ 0\ pictures\ 6\ width\ ([0-9]+)\ scroll\ ([0-9]+)$ ]] || fail "at $width: $title"
    [ "${BASH_REMATCH[2]:-0}" -le "${BASH_REMATCH[1]:-0}" ] || fail "the page scrolls sideways: $title"
done
exit $bad
