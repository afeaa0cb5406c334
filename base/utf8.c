/* utf8.c - validity of UTF-8 as RFC 3629 defines it. */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#include "tandem/memory.h"

/* The second byte's range rules out overlong forms, surrogates and what lies above
 * U+10FFFF (RFC 3629, section 4). */
size_t tandem_utf8_sequence(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char first = s[0], low = 0x80, high = 0xBF;
    if (first < 0x80) {
        return 1;
    }
    size_t size = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (size == 0 || size > length) {
        return 0;
    }
    switch (first) {
    case 0xE0: low = 0xA0; break;
    case 0xED: high = 0x9F; break;
    case 0xF0: low = 0x90; break;
    case 0xF4: high = 0x8F; break;
    default: break;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if (s[i] < 0x80 || s[i] > 0xBF) {
            return 0;
        }
    }
    return size;
}

size_t tandem_utf8_invalid(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint64_t eight;
        if (length - at >= sizeof eight) { /* most text is ASCII: eight bytes at once */
            memcpy(&eight, text + at, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        size_t size = tandem_utf8_sequence(text + at, length - at);
        if (size == 0) {
            return at;
        }
        at += size;
    }
    return length;
}
