/* The hot loops of the detector: cutting text into tokens, adding up n-gram weights, looking up phrases.
 *
 * Optional: tokens.py, quotes.py, kernel.py, lexicon.py and features.py hold the same in array operations, and a test compares the two
 * bit by bit. Plain C without Python's headers, so one build serves every Python; loaded with ctypes, which
 * lets other threads run meanwhile.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { GAP = 0, WORD = 1, END = 2, POWERS = 32 };

EXPORT int64_t aligntax_native_version(void) { return 5; }

static inline uint64_t mix(uint64_t v) {
    v ^= v >> 29;
    v *= 0xBF58476D1CE4E5B9ULL;
    v ^= v >> 32;
    return v;
}

/* Class of the character that begins at `at`, and its length in bytes. */
static inline int class_of(const uint8_t *b, int64_t at, int64_t size, const uint8_t *classes, int *width) {
    uint8_t lead = b[at];
    *width = 1;
    if (lead < 0x80) return classes[lead];
    uint8_t second = at + 1 < size ? b[at + 1] : 0, third = at + 2 < size ? b[at + 2] : 0;
    switch (lead) {
    case 0xC2: *width = 2; return GAP;
    case 0xE2: *width = 3; return second == 0x80 && third == 0xA6 ? END : GAP;
    case 0xF0: *width = 4; return GAP;
    case 0xEF:
        if (second == 0xB8) { *width = 3; return GAP; }
        if (second == 0xBC) { *width = 3; return third == 0x81 || third == 0x8E || third == 0x9F ? END : GAP; }
        return WORD;
    case 0xE3:
        if (second == 0x80) { *width = 3; return third == 0x82 ? END : GAP; }
        return WORD;
    case 0xE0:
        if (second == 0xA5 && (third == 0xA4 || third == 0xA5)) { *width = 3; return END; }
        return WORD;
    case 0xD8:
        if (second == 0x8C || second == 0x9B) { *width = 2; return GAP; }
        if (second == 0x9F) { *width = 2; return END; }
        return WORD;
    default: return WORD;
    }
}

/* Cut `buffer` into tokens. Returns their number; `ending[i]` says that token i ends a sentence.
 * Every row ends with its separator, a token of its own. Returns -1 when `room` entries are too few. */
EXPORT int64_t aligntax_tokenize(
    const uint8_t *buffer, const int64_t *row_start, int64_t rows, const uint8_t *classes,
    const uint64_t *values, uint64_t multiplier, const uint64_t *end_values, const uint8_t *closes,
    const uint64_t *abbreviations, int64_t abbreviation_count,
    int64_t room, int64_t *start, int64_t *end, uint64_t *hash, uint8_t *word, uint8_t *ending, int64_t *row_first) {
    int64_t count = 0;
    uint64_t powers[POWERS];
    powers[0] = 1;
    for (int at = 1; at < POWERS; at++) powers[at] = powers[at - 1] * multiplier;
    uint8_t ascii_word[256] = {0};
    for (int byte = 0; byte < 128; byte++) ascii_word[byte] = classes[byte] == WORD;
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = row_start[row], stop = row_start[row + 1] - 1;
        /* The two tokens before, weak ones included: what the array code sees. */
        int before_word = 0, previous_word = 0, seen = 0;
        int64_t before_start = 0, before_end = -1;
        uint64_t before_hash = 0;
        row_first[row] = count;
        while (at < stop) {
            if (count + 2 > room) return -1;
            int width, kind = class_of(buffer, at, stop, classes, &width);
            if (kind == GAP) { at += width; continue; }
            int64_t begin = at;
            if (kind == WORD) {
                uint64_t h = 0, part = 0, base = 1;
                int place = 0, eastern = buffer[at] >= 0xE3 && buffer[at] <= 0xED;
                if (eastern) width = at + 3 < stop ? 3 : (int)(stop - at);
                for (;;) {
                    for (int step = 0; step < width; step++) {
                        if (place == POWERS) { h += part * base; part = 0; base *= powers[POWERS - 1] * multiplier; place = 0; }
                        part += values[buffer[at + step]] * powers[place++];
                    }
                    at += width;
                    if (eastern) break;
                    while (at < stop && place < POWERS && ascii_word[buffer[at]])
                        part += values[buffer[at++]] * powers[place++];
                    if (at >= stop || class_of(buffer, at, stop, classes, &width) != WORD) break;
                    if (buffer[at] >= 0xE3 && buffer[at] <= 0xED) break;
                }
                h += part * base;
                start[count] = begin; end[count] = at; hash[count] = h; word[count] = 1; ending[count] = 0;
                count++;
                previous_word = before_word;
                before_word = 1; before_start = begin; before_end = at; before_hash = h; seen++;
                continue;
            }
            int last = buffer[at];
            while (at < stop && class_of(buffer, at, stop, classes, &width) == END) {
                at += width;
                last = buffer[at - 1];
            }
            uint8_t lead = buffer[begin], following = buffer[at];
            int ends = last == '\n' || lead == '\n' || lead > 127;
            if (!ends && closes[following]) {
                int short_point = at - begin == 1 && lead == '.' && seen > 0 && before_word && before_end == begin;
                int abbreviation = 0, item = 0;
                if (short_point) {
                    for (int64_t low = 0, high = abbreviation_count; low < high;) {
                        int64_t middle = (low + high) / 2;
                        if (abbreviations[middle] == before_hash) { abbreviation = 1; break; }
                        if (abbreviations[middle] < before_hash) low = middle + 1; else high = middle;
                    }
                    uint8_t digit = buffer[before_start];
                    item = digit >= '0' && digit <= '9' && before_end - before_start <= 2 &&
                           (before_start == row_start[row] || !previous_word);
                }
                ends = !abbreviation && !item;
            }
            previous_word = before_word;
            before_word = 0; before_start = begin; before_end = at; before_hash = 0; seen++;
            if (ends) {
                start[count] = begin; end[count] = at; hash[count] = end_values[lead]; word[count] = 0; ending[count] = 1;
                count++;
            }
        }
        if (count + 1 > room) return -1;
        start[count] = stop; end[count] = stop + 1; hash[count] = end_values['\n']; word[count] = 0; ending[count] = 1;
        count++;
    }
    row_first[rows] = count;
    return count;
}

/* Weights of the n-grams that end at each token, eight bits each, summed by sentence. A row of the table is
 * 16 weights, those of unused heads zero. Whole numbers, so the order of adding does not matter. */
EXPORT void aligntax_gram_sums(
    const uint64_t *mixed, const int64_t *row_first, int64_t rows, const int64_t *sentence_first,
    const int64_t *row_sentence, const uint8_t *later, const int8_t *table, int64_t bits,
    const uint64_t *constants, int32_t *sums) {
    enum { HEADS = 16 };
    const uint64_t two_a = constants[0], two_b = constants[1], three_a = constants[2], three_b = constants[3];
    const uint64_t before = constants[4];
    const int shift = (int)(64 - bits);
    for (int64_t row = 0; row < rows; row++) {
        uint64_t one = before, two = before;
        int64_t token = row_first[row];
        for (int64_t sentence = row_sentence[row]; sentence < row_sentence[row + 1]; sentence++) {
            const int8_t *base = table + (later[sentence] ? ((int64_t)1 << bits) * HEADS : 0);
            int32_t total[HEADS] = {0};
            for (; token < sentence_first[sentence + 1]; token++) {
                uint64_t here = mixed[token];
                uint64_t pair = one * two_a + here;
                uint64_t triple = (two * three_a + pair) * three_b;
                const int8_t *a = base + (int64_t)(here >> shift) * HEADS;
                const int8_t *b = base + (int64_t)((pair * two_b) >> shift) * HEADS;
                const int8_t *c = base + (int64_t)(triple >> shift) * HEADS;
                int16_t some[HEADS];
                for (int head = 0; head < HEADS; head++) some[head] = (int16_t)(a[head] + b[head] + c[head]);
                for (int head = 0; head < HEADS; head++) total[head] += some[head];
                two = one;
                one = here;
            }
            memcpy(sums + sentence * HEADS, total, sizeof total);
        }
    }
}

/* How many tokens of each row have their bit set in a packed table of words. */
EXPORT void aligntax_count_words(
    const uint64_t *mixed, const int64_t *row_first, int64_t rows, const uint8_t *packed, int64_t bits,
    int64_t *counts) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t count = 0;
        for (int64_t token = row_first[row]; token < row_first[row + 1]; token++) {
            uint64_t slot = mixed[token] >> (64 - bits);
            count += packed[slot >> 3] >> (slot & 7) & 1;
        }
        counts[row] = count;
    }
}

/* `singles`, `begun` and `known` are packed bits, lowest first: whether a word alone, or a pair, begins any
 * phrase, and whether a phrase may be one. `key_starts`: where the keys of each value of their top 16 bits begin.
 * Candidate phrases: hits[3 * i] = first token, last token, place in the sorted keys. Returns their number,
 * at most `room`. Only whole keys that match are reported; sentence bounds are the caller's business. */
EXPORT int64_t aligntax_find(
    const uint64_t *mixed, int64_t count, const uint8_t *singles, int64_t single_bits, const uint8_t *begun,
    const uint32_t *pairs, int64_t pair_bits, const uint64_t *pair_constants, uint64_t step,
    const uint64_t *keys, const uint32_t *key_starts, const uint8_t *known, int64_t known_bits, int64_t *hits,
    int64_t room) {
    int64_t found = 0;
    for (int64_t at = 0; at < count && found + 32 < room; at++) {
        uint32_t lengths = 0;
        if (at + 1 < count) {
            uint64_t slot =
                ((mixed[at] * pair_constants[0] + mixed[at + 1]) * pair_constants[1]) >> (64 - pair_bits);
            if (begun[slot >> 3] >> (slot & 7) & 1) lengths = pairs[slot];
        }
        uint64_t single = mixed[at] >> (64 - single_bits);
        if (singles[single >> 3] >> (single & 7) & 1) lengths |= 2;
        uint64_t total = 0, power = 1;
        for (int64_t length = 0; lengths >> length; length++) {
            if (lengths >> length & 1) {
                uint64_t key = mix(total);
                uint64_t bit = key >> (64 - known_bits);
                if (known[bit >> 3] >> (bit & 7) & 1) {
                    int64_t place = key_starts[key >> 48], stop = key_starts[(key >> 48) + 1];
                    while (place < stop && keys[place] < key) place++;
                    if (place < stop && keys[place] == key) {
                        hits[3 * found] = at;
                        hits[3 * found + 1] = at + length - 1;
                        hits[3 * found + 2] = place;
                        found++;
                    }
                }
            }
            if (at + length >= count) break;
            total += mixed[at + length] * power;
            power *= step;
        }
    }
    return found;
}

static void paint(
    const int64_t *start, int64_t low, int64_t high, int64_t from, int64_t to, uint8_t flag, uint8_t *flags,
    int *painted) {
    *painted = 1;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (start[middle] < from) low = middle + 1; else high = middle;
    }
    for (; start[low] < to; low++) flags[low] |= flag;
}

/* Mark tokens in quotation marks (1) and in code (2), except in rows that lie almost wholly inside, and make
 * their hashes anonymous. Returns how many tokens are marked. */
EXPORT int64_t aligntax_hide(
    const uint8_t *buffer, const int64_t *row_start, int64_t rows, const int64_t *start, const int64_t *row_first,
    const uint64_t *hash, uint64_t quoted, uint64_t code, uint8_t *flags, uint64_t *masked) {
    enum { QUOTE = 1, CODE = 2 };
    int64_t total = 0;
    uint8_t special[256] = {0};
    special['\n'] = special['"'] = special['`'] = special['>'] = special[0xE2] = 1;
    for (int64_t row = 0; row < rows; row++) {
        int64_t stop = row_start[row + 1] - 1, first = row_first[row], last = row_first[row + 1] - 1;
        int64_t straight = -1, english = -1, german = -1, inline_code = -1, fence = -1;
        int painted = 0;
        memset(flags + first, 0, (size_t)(last + 1 - first));
        for (int64_t at = row_start[row]; at < stop; at++) {
            while (at < stop && !special[buffer[at]]) at++;
            if (at >= stop) break;
            uint8_t byte = buffer[at];
            if (byte == '\n') {
                straight = english = german = inline_code = -1;
            } else if (byte == '"') {
                if (straight < 0) straight = at;
                else { paint(start, first, last, straight, at, QUOTE, flags, &painted); straight = -1; }
            } else if (byte == '`') {
                int64_t run = at;
                while (at + 1 < stop && buffer[at + 1] == '`') at++;
                int64_t *open = at - run >= 2 ? &fence : &inline_code;
                if (*open < 0) *open = run;
                else { paint(start, first, last, *open, run, CODE, flags, &painted); *open = -1; }
            } else if (byte == '>') {
                if (at == row_start[row] || buffer[at - 1] == '\n') {
                    int64_t line = at;
                    while (line < stop && buffer[line] != '\n') line++;
                    paint(start, first, last, at, line, QUOTE, flags, &painted);
                }
            } else if (byte == 0xE2 && buffer[at + 1] == 0x80) {
                uint8_t shape = buffer[at + 2];
                if (shape == 0x9C) {
                    if (german >= 0) { paint(start, first, last, german, at, QUOTE, flags, &painted); german = -1; }
                    english = at;
                } else if (shape == 0x9D) {
                    if (english >= 0) paint(start, first, last, english, at, QUOTE, flags, &painted);
                    english = -1;
                } else if (shape == 0x9E) german = at;
                at += 2;
            }
        }
        if (fence >= 0) paint(start, first, last, fence, stop, CODE, flags, &painted);
        int64_t quotes = 0, codes = 0;
        if (!painted) {
            memcpy(masked + first, hash + first, (size_t)(last + 1 - first) * sizeof(uint64_t));
            continue;
        }
        for (int64_t token = first; token < last; token++) {
            quotes += flags[token] & QUOTE;
            codes += flags[token] >> 1;
        }
        double enough = 0.8 * (double)(last - first > 1 ? last - first : 1);
        uint8_t kept = (uint8_t)(((double)quotes >= enough ? 0 : QUOTE) | ((double)codes >= enough ? 0 : CODE));
        for (int64_t token = first; token <= last; token++) {
            uint8_t flag = flags[token] & kept;
            flags[token] = flag != 0;
            total += flag != 0;
            masked[token] = flag & CODE ? code : flag & QUOTE ? quoted : hash[token];
        }
    }
    return total;
}

/* Of each row: words, hidden tokens, words of a packed table, tokens that begin with a digit, and how often
 * `byte` stands in it; five numbers a row. `hidden` may be null. */
EXPORT void aligntax_counts(
    const uint8_t *buffer, const int64_t *row_start, const int64_t *start, const uint8_t *word,
    const uint8_t *hidden, const uint64_t *mixed, const int64_t *row_first, int64_t rows, const uint8_t *packed,
    int64_t bits, uint8_t byte, int64_t *counts) {
    for (int64_t row = 0; row < rows; row++) {
        int64_t words = 0, unseen = 0, listed = 0, digits = 0, bytes = 0;
        for (int64_t token = row_first[row]; token < row_first[row + 1]; token++) {
            uint64_t slot = mixed[token] >> (64 - bits);
            words += word[token];
            if (hidden) unseen += hidden[token];
            listed += packed[slot >> 3] >> (slot & 7) & 1;
            digits += (uint8_t)(buffer[start[token]] - '0') < 10;
        }
        for (int64_t at = row_start[row]; at < row_start[row + 1]; at++) bytes += buffer[at] == byte;
        int64_t *out = counts + 5 * row;
        out[0] = words; out[1] = unseen; out[2] = listed; out[3] = digits; out[4] = bytes;
    }
}

/* Which words of the prompt come back in the answer: covered, covered in the opening, wanted, and how many
 * words of the answer are the prompt's; four numbers a row. Sets are bitmaps of 1,024 hash values. */
EXPORT void aligntax_overlap(
    const uint64_t *asked, const uint8_t *content, const int64_t *asked_first, const uint64_t *mixed,
    const uint8_t *word, const int64_t *start, const int64_t *end, const int64_t *row_first, int64_t rows,
    int64_t opening, int64_t *counts) {
    for (int64_t row = 0; row < rows; row++) {
        uint64_t wanted[16] = {0}, covered[16] = {0}, early[16] = {0};
        int64_t shared = 0, first = row_first[row];
        for (int64_t token = asked_first[row]; token < asked_first[row + 1]; token++)
            if (content[token]) wanted[asked[token] >> 60] |= 1ULL << (asked[token] >> 54 & 63);
        for (int64_t token = first; token < row_first[row + 1]; token++) {
            uint64_t value = mixed[token], bit = 1ULL << (value >> 54 & 63);
            int slot = (int)(value >> 60);
            if ((wanted[slot] & bit) && word[token] && end[token] - start[token] > 2) {
                shared++;
                covered[slot] |= bit;
                if (token - first < opening) early[slot] |= bit;
            }
        }
        int64_t sums[3] = {0, 0, 0};
        for (int slot = 0; slot < 16; slot++) {
            sums[0] += __builtin_popcountll(covered[slot]);
            sums[1] += __builtin_popcountll(early[slot]);
            sums[2] += __builtin_popcountll(wanted[slot]);
        }
        for (int part = 0; part < 3; part++) counts[4 * row + part] = sums[part];
        counts[4 * row + 3] = shared;
    }
}

/* What a row's sentences come to, column by column: see features.py, which names them.
 * functions: (sentences, f), phrases: (sentences, p); out: rows of `stride` floats, 5 * f + 3 * p of them set. */
EXPORT void aligntax_by_row(
    const float *functions, int64_t f, const float *phrases, int64_t p, const int64_t *sentence_first,
    const int64_t *row_sentence, const uint8_t *later, const float *words, int64_t rows, float *out,
    int64_t stride) {
    for (int64_t row = 0; row < rows; row++) {
        float *share = out + row * stride, *opening = share + f, *first = share + 2 * f, *last = share + 3 * f;
        float *most = share + 4 * f, *phrase_early = share + 5 * f, *phrase_any = phrase_early + p;
        float *density = phrase_any + p;
        float total = 0, early = 0;
        int64_t begin = row_sentence[row], stop = row_sentence[row + 1];
        memset(share, 0, (size_t)(5 * f + 3 * p) * sizeof(float));
        for (int64_t sentence = begin; sentence < stop; sentence++) {
            float length = (float)(sentence_first[sentence + 1] - sentence_first[sentence]);
            float open = later[sentence] ? 0.0f : 1.0f;
            const float *doing = functions + sentence * f, *said = phrases + sentence * p;
            total += length;
            early += length * open;
            for (int64_t at = 0; at < f; at++) {
                share[at] += doing[at] * length;
                opening[at] += doing[at] * length * open;
                if (doing[at] > most[at]) most[at] = doing[at];
            }
            for (int64_t at = 0; at < p; at++) {
                phrase_early[at] += said[at] * open;
                density[at] += said[at];
            }
        }
        for (int64_t at = 0; at < f; at++) {
            share[at] /= total;
            opening[at] /= early > 1 ? early : 1;
            first[at] = functions[begin * f + at];
            last[at] = functions[(stop - 1) * f + at];
        }
        for (int64_t at = 0; at < p; at++) {
            float dense = density[at] * 30 / words[row];
            phrase_any[at] = density[at] > 1 ? 1 : density[at];
            phrase_early[at] = phrase_early[at] > 1 ? 1 : phrase_early[at];
            density[at] = dense > 3 ? 3 : dense;
        }
    }
}
