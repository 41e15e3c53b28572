# shellcheck shell=bash
# shellcheck disable=SC2154  # programs, work, live, started, found: demo.sh has them
# The chat part of demo.sh, which sources it: alice, bob and carol as separate processes talk, are away, meet in a room,
# and move a file, with the proof that it equals the original and that the disk holds no readable word of it all.

PEOPLE=(alice bob carol)
declare -A typed_on # the writing end of each one's input
declare -A said     # how many lines of each were read already
FILE_SIZE=20000000

# meet NAME: starts one of them, and waits until others can reach them.
meet() {
    local name=$1
    [ -p "$work/$name.in" ] || mkfifo "$work/$name.in" || die "cannot make a pipe in $work"
    exec {fd}<>"$work/$name.in"
    typed_on[$name]=$fd
    said[$name]=0
    input=$work/$name.in start "$name" chat --name "$name" --tracker "$url" --host 127.0.0.1 --port 0 \
        --home "$work/home/$name" --json
    process[$name]=$started
    expect "$name" '"event":"tracker_state","reachable":true'
}

# type NAME COMMAND: as people type it.
type() { printf '%s\n' "$2" >&"${typed_on[$1]}"; }

# expect NAME REGEX [SECONDS]: waits for a line that NAME prints from here on, or has printed since the last time that
# one was found; the line in $line.
expect() {
    local name=$1 regex=$2 number i
    for ((i = 0; i < ${3:-20} * 20; i++)); do
        number=$(tail -n "+$((said[$name] + 1))" "$work/$name.out" | grep -n -m 1 -E -- "$regex")
        if [ -n "$number" ]; then
            line=${number#*:}
            said[$name]=$((said[$name] + ${number%%:*}))
            return
        fi
        kill -0 "${process[$name]}" 2>/dev/null || failed "$name"
        sleep 0.05
    done
    die "$name did not see $regex"
}

# member NAME: the text or number of that name in the JSON object $line.
member() { [[ $line =~ \"$1\":(\"([^\"]*)\"|[0-9]+) ]] && echo "${BASH_REMATCH[2]:-${BASH_REMATCH[1]}}"; }

title() { printf '\n%s\n' "$*"; }
# row WHO WHAT: a line of the picture. printf counts bytes, and names and arrows are not all ASCII.
row() { printf '  %s%*s %s\n' "$1" $((16 - ${#1})) '' "$2"; }

# tell FROM TO TEXT: FROM says it to a person, who sees and reads it.
tell() {
    local from=$1 to=$2 text=$3
    type "$from" "@$to $text"
    expect "$to" "\"event\":\"message\",\"with\":\"$from\",.*\"own\":false"
    row "$from → $to" "$(member text)"
    expect "$from" '"event":"receipt".*"state":"delivered"'
    type "$to" "/read $from"
    expect "$from" '"event":"receipt".*"state":"read"'
    row '' "✓✓ read by $to"
}

declare -A process number order
mkdir "$work/home"
start tracker tracker --host 127.0.0.1 --port 0
tracker=$started
wait_for tracker "$tracker" '(https?://[^[:space:]"]+)/announce'
url=$found
echo "tracker:  $url, which says who is where and sees no word"
for name in "${PEOPLE[@]}"; do
    meet "$name"
    printf '%-9s 127.0.0.1:%s, key %s…\n' "$name:" "$(line=$(head -n 1 "$work/$name.out") && member port)" \
        "$(line=$(head -n 1 "$work/$name.out") && member key | cut -c 1-16)"
done

title 'alice knows a name, and that is enough'
tell alice bob 'hello bob, are you there?'
tell bob alice '¡Hola! Grüße, 日本 🎉'

title 'is it really bob? Both compare this number by telephone'
for name in alice bob; do
    [ "$name" = alice ] && other=bob || other=alice
    type "$name" "/verify $other"
    expect "$name" '"command":"verify"'
    number[$name]=$(member safety_number)
    row "$name sees" "${number[$name]}"
done
[ "${number[alice]}" = "${number[bob]}" ] || die "the safety numbers differ"
type alice '/verify bob yes'

title 'carol is away: her program is killed, words to her wait, and come when she is back'
tell alice carol 'see you in the lobby'
{ kill -KILL "${process[carol]}" && ended "${process[carol]}"; } 2>/dev/null
type alice '@carol it is at eight, by the way'
expect alice '"command":"send","with":"carol"'
row 'alice → carol' 'it is at eight, by the way'
row '' 'waiting'
: >"$work/carol.out"
meet carol
expect carol '"event":"message","with":"alice".*"own":false'
row 'carol is back' "and sees: $(member text)"

title 'all three meet in the room #lobby'
for name in "${PEOPLE[@]}"; do
    type "$name" '/join lobby'
    expect "$name" '"command":"join"'
done
for name in "${PEOPLE[@]}"; do
    # Everybody knows of everybody.
    for ((i = 0; i < 300; i++)); do
        type "$name" '/rooms'
        expect "$name" '"command":"rooms"'
        [[ $line =~ \"connected\":2,\"members\":\[\"[^]]*\",\"[^]]*\",\"[^]]*\"\] ]] && break
        sleep 0.1
    done
    [ "$i" -lt 300 ] || die "$name does not see all others in #lobby"
done
for name in "${PEOPLE[@]}"; do
    type "$name" "@#lobby $name is here"
    for other in "${PEOPLE[@]}"; do
        expect "$other" "\"event\":\"message\",\"with\":\"#lobby\",\"from\":\"$name\""
    done
    row "$name → #lobby" "$(member text)"
done
for name in "${PEOPLE[@]}"; do
    type "$name" '{"command":"history","with":"#lobby","count":50}'
    expect "$name" '"command":"history"'
    order[$name]=$(grep -o '"id":"[^"]*"' <<<"$line" | sha256sum | cut -c 1-16)
done
[ "${order[alice]}" = "${order[bob]}" ] && [ "${order[bob]}" = "${order[carol]}" ] || die "the orders differ"
row 'the same order' "of 3 messages for all, ${order[alice]}…"

title 'alice sends bob a file, over a swarm of two'
head -c "$FILE_SIZE" /dev/urandom >"$work/holiday film.mkv" # the most difficult kind: nothing in it can be packed
type alice "/send bob '$work/holiday film.mkv'"
expect bob '"event":"file_offered"'
row 'bob sees' "$(member file_name), $(grouped "$(member size)") bytes"
began=${EPOCHREALTIME/[.,]/}
type bob "/accept $work/received"
while :; do
    expect bob '"event":"file_(progress|done|failed)"' 60
    case $line in
    *file_failed*) die "the file: $(member reason)" ;;
    *file_done*) break ;;
    esac
    if [ -n "$live" ]; then
        percent=$(($(member done) * 100 / FILE_SIZE))
        printf -v cells '%*s' $((percent / 4)) ''
        printf '\r  %-16s [%-25s] %3d %%\e[K' '' "${cells// /=}" "$percent"
    fi
done
[ -z "$live" ] || printf '\r\e[K'
took=$((${EPOCHREALTIME/[.,]/} - began))
cmp -s "$work/holiday film.mkv" "$work/received/holiday film.mkv" || die "bob's copy differs from the original"
speed=$(awk "BEGIN { printf \"%.2f s, %.0f MB/s\", $took / 1e6, $FILE_SIZE / $took }")
row 'bob has it' "$speed, equal to the original"

title 'everybody leaves'
for name in "${PEOPLE[@]}"; do
    type "$name" /quit
    ended "${process[$name]}" || failed "$name"
done
if grep -r -a -q -e 'hello bob' -e 'by the way' -e 'is here' -e 'holiday film' "$work/home"; then
    die "there are readable words in the history on the disk"
fi
kept=$(find "$work/home" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
echo "What they said is kept in $(grouped "$kept") bytes on the disk, of which none is readable without their keys."
