/* winograd_kernel.c - products of float32 matrices on a CPU that adds vectors in units of its own, beside those that
 * multiply and add: some of the multiplications become additions, which cost nothing there.
 *
 * Winograd 1968, A New Algorithm for Inner Product, with numbers k and k + n/2 of n as a couple:
 *
 *     sum x[k] y[k] = sum over couples (x[k] + y[k + n/2]) (x[k + n/2] + y[k])  -  sum x[k] x[k + n/2]  -  sum y[k] y[k + n/2]
 *
 * The last two belong to a row of the left matrix and to a column of the right one, and are summed once. A couple takes
 * one fused multiply-add and two additions instead of two of the former. Two vectors of columns in three are multiplied
 * so, the third as usual: four multiply-adds and four additions for a couple of a row, where there were six and none.
 *
 * x and y are added, so they have to be of one size, or the digits of the smaller one are lost: every row and every
 * column is multiplied by a power of two that brings its numbers near 1, and its sums by the inverse, both exactly. The
 * couples' sum and what is taken from it can be greater than what is left, the more so the longer they are, so that DEPTH
 * numbers at most are summed so and their sums added: rounding leaves no more than in plain sums (docs/benchmarks.md).
 *
 * A column's sums depend on the column, its place in the panel and the row alone.
 */
#include "model/kernels/chunks.h"
#include "model/kernels/kernels.h"
#include "model/kernels/panels.h"

/* Of the left matrix ROW_BLOCK rows, or COLUMN_BLOCK columns of which gradients are summed, of some chunks of DEPTH
 * numbers stay in the second-level cache, and a chunk of a panel of the right one in the nearest. */
enum { DEPTH = TANDEM_FLOAT_CHUNK, ROW_BLOCK = 64, ROW_CHUNKS = 2, COLUMN_BLOCK = 48, COLUMN_CHUNKS = TANDEM_FLOAT_DEPTH / DEPTH };

/* Vectors of a panel before the one that is multiplied as usual. */
enum { COUPLED = 2 };

/* What follows the numbers of a chunk: of every column the sum over its couples, and what its sums are multiplied with. */
enum { SUMS, SCALES, BESIDE };

tandem_float_lay_out_fn TANDEM_KERNEL(float_lay_out);
tandem_float_multiply_fn TANDEM_KERNEL(float_multiply);
tandem_float_gradient_fn TANDEM_KERNEL(float_gradient);

/* ---- balanced factors -------------------------------------------------------------------- */

/* The power of two that numbers are multiplied by so that they are near 1, and its inverse. Between their mean and their
 * greatest magnitude, no less than the root of their mean square: the greatest of n is then no more than some square root of n,
 * and so is what two of them that meet in a couple add to the sums, and take away again. Numbers below 2^-126 count as 0,
 * whose sums are 0 whatever is left of them. */
typedef struct {
    vfloat to, from;
} balance;

ALWAYS_INLINE balance balance_of(vfloat mean, vfloat greatest) {
    __m512i exponents = _mm512_add_epi32(_mm512_srli_epi32((__m512i)mean, 23), _mm512_srli_epi32((__m512i)greatest, 23));
    __m512i exponent = _mm512_min_epu32(_mm512_srli_epi32(exponents, 1), _mm512_set1_epi32(253)); /* of infinity, too */
    __m512i inverse = _mm512_sub_epi32(_mm512_set1_epi32(254), _mm512_max_epu32(exponent, _mm512_set1_epi32(1)));
    return (balance){(vfloat)_mm512_slli_epi32(inverse, 23), (vfloat)_mm512_slli_epi32(exponent, 23)};
}

ALWAYS_INLINE vfloat magnitude(vfloat v) {
    return (vfloat)((vuint)v & 0x7fffffff);
}

/* Balances the columns of a chunk [2 * half, width], width in whole vectors, of which `depth` rows are there, and adds
 * what stands beside it. */
static void balance_columns(float *chunk, size_t depth, size_t half, size_t width) {
    float *beside = chunk + 2 * half * width;
    if (depth < 2 * half) {
        memset(chunk + depth * width, 0, width * sizeof *chunk);
    }
    for (size_t i = 0; i < width; i += LANES) {
        float *column = chunk + i;
        vfloat sum = {0}, greatest = {0};
        for (size_t k = 0; k < depth; k++) {
            vfloat size = magnitude(vload(column + k * width));
            sum += size;
            greatest = vmax(size, greatest);
        }
        balance scale = balance_of(sum * (1.0f / (float)depth), greatest);
        sum = vsplat(0);
        for (size_t k = 0; k < half; k++) {
            vfloat first = vload(column + k * width) * scale.to, second = vload(column + (k + half) * width) * scale.to;
            vstore(column + k * width, first);
            vstore(column + (k + half) * width, second);
            sum += first * second;
        }
        vstore(beside + SUMS * width + i, sum);
        vstore(beside + SCALES * width + i, scale.from);
    }
}

/* A chunk of rows of the left matrix, balanced. */
typedef struct {
    float data[ROW_BLOCK * DEPTH];
    float beside[BESIDE * ROW_BLOCK];
} row_block;

/* From [rows, depth] with `ld` to [rows, 2 * half], rows DEPTH apart. */
static void balance_rows(const float *from, size_t ld, size_t rows, size_t depth, size_t half, row_block *to) {
    for (size_t row = 0; row < rows; row++, from += ld) {
        float *line = to->data + row * DEPTH;
        vfloat sum = {0}, greatest = {0};
        for (size_t k = 0; k < depth; k += LANES) {
            vfloat size = magnitude(vload_first(from + k, depth - k));
            sum += size;
            greatest = vmax(size, greatest);
        }
        balance scale = balance_of(vsplat(vsum(sum) / (float)depth), vsplat(_mm512_reduce_max_ps((__m512)greatest)));
        for (size_t k = 0; k < depth; k += LANES) {
            vstore_first(line + k, vload_first(from + k, depth - k) * scale.to, depth - k);
        }
        if (depth < 2 * half) {
            line[depth] = 0;
        }
        sum = vsplat(0);
        for (size_t k = 0; k < half; k += LANES) {
            sum += vload_first(line + k, half - k) * vload_first(line + half + k, half - k);
        }
        to->beside[SUMS * ROW_BLOCK + row] = vsum(sum);
        to->beside[SCALES * ROW_BLOCK + row] = scale.from[0];
    }
}

/* ---- register tiles ------------------------------------------------------------------------ */

/* Number k of row r at data[r * row + k * step]; of the row, at beside[r] the sum over couples, `stride` further the scale. */
typedef struct {
    const float *data, *beside;
    size_t row, step, stride;
} left;

/* A chunk [2 * half, width] of a panel, what is beside it after it; and how many bytes further the chunk lies that is multiplied
 * next, 0 if that is not far. Where rows are few, reading a chunk from memory takes longer than multiplying it: the next one is
 * asked for meanwhile. */
typedef struct {
    const float *data;
    ptrdiff_t next;
} right;

/* c[r, 0..vectors) (+)= sum over k of a(r, k) * b[k, 0..vectors). The last vector of c has `tail` columns. */
ALWAYS_INLINE void tile(int rows, int vectors, size_t half, left a, right b, float *c, size_t ldc, size_t tail, bool add) {
    size_t width = (size_t)(vectors * LANES);
    const float *beside = b.data + 2 * half * width;
    vfloat sum[TILE_ROWS][TILE_VECTORS] = {0};
    for (size_t k = 0; k < half; k++) {
        vfloat y1[TILE_VECTORS], y2[TILE_VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            const float *first = b.data + k * width + v * LANES, *second = first + half * width;
            __builtin_prefetch((const char *)first + b.next, 0, 2);
            __builtin_prefetch((const char *)second + b.next, 0, 2);
            y1[v] = vload(first);
            y2[v] = vload(second);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            float x1 = a.data[(size_t)r * a.row + k * a.step], x2 = a.data[(size_t)r * a.row + (k + half) * a.step];
#pragma GCC unroll 3
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = v < COUPLED ? sum[r][v] + (x1 + y2[v]) * (x2 + y1[v]) : sum[r][v] + x1 * y1[v] + x2 * y2[v];
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            float *to = c + (size_t)r * ldc + (size_t)(v * LANES);
            size_t count = v == vectors - 1 ? tail : LANES;
            vfloat once = v < COUPLED ? vload(beside + SUMS * width + v * LANES) + a.beside[SUMS * a.stride + (size_t)r] : vsplat(0);
            vfloat scale = vload(beside + SCALES * width + v * LANES) * a.beside[SCALES * a.stride + (size_t)r];
            vfloat product = (sum[r][v] - once) * scale;
            vstore_first(to, add ? vload_first(to, count) + product : product, count);
        }
    }
}

/* The same of a whole tile, to the bit. In assembler, because it takes every register, and because its instructions must read
 * the numbers of `a` themselves: to load one into a register first takes a turn of the units that compute. 0 to 23: sums; 24
 * to 26 and 27 to 29: y1 and y2, then what is beside them; 30 and 31: what a couple adds, then scales. */
ALWAYS_INLINE void whole_tile(size_t half, left a, right b, float *c, size_t ldc, size_t tail, bool add) {
    const float *a1 = a.data, *a2 = a1 + half * a.step, *b1 = b.data, *b2 = b1 + half * PANEL;
    __mmask16 stored = (__mmask16)((1u << tail) - 1), added = add ? 0xffff : 0;
    for (size_t i = 0; i < TILE_ROWS * TILE_VECTORS; i++) { /* to be there when the sums are */
        __builtin_prefetch(c + i / TILE_VECTORS * ldc + i % TILE_VECTORS * LANES, 1);
    }
#define ROWS(DO) DO(0, 0, 1, 2) DO(1, 3, 4, 5) DO(2, 6, 7, 8) DO(3, 9, 10, 11) DO(4, 12, 13, 14) DO(5, 15, 16, 17) DO(6, 18, 19, 20) DO(7, 21, 22, 23)
#define CLEAR(register) "vpxord %%zmm" #register ", %%zmm" #register ", %%zmm" #register "\n\t"
#define CLEAR_ROW(r, first, second, third) CLEAR(first) CLEAR(second) CLEAR(third)
#define NUMBER(r, from) #r " * %c[row](%[" #from "])%{1to16%}"
#define COUPLE(r, y1, y2, sum)                            \
    "vaddps " NUMBER(r, a1) ", %%zmm" #y2 ", %%zmm30\n\t" \
    "vaddps " NUMBER(r, a2) ", %%zmm" #y1 ", %%zmm31\n\t" \
    "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #sum "\n\t"
#define BOTH(r, y1, y2, sum)                                         \
    "vfmadd231ps " NUMBER(r, a1) ", %%zmm" #y1 ", %%zmm" #sum "\n\t" \
    "vfmadd231ps " NUMBER(r, a2) ", %%zmm" #y2 ", %%zmm" #sum "\n\t"
#define ADD_ROW(r, first, second, third) COUPLE(r, 24, 27, first) COUPLE(r, 25, 28, second) BOTH(r, 26, 29, third)
#define TAKE(r, sums, sum)                                                     \
    "vaddps 4 * " #r "(%[beside])%{1to16%}, %%zmm" #sums ", %%zmm30\n\t"       \
    "vsubps %%zmm30, %%zmm" #sum ", %%zmm" #sum "\n\t"
#define SCALE(scales, sum)                              \
    "vmulps %%zmm31, %%zmm" #scales ", %%zmm30\n\t"     \
    "vmulps %%zmm30, %%zmm" #sum ", %%zmm" #sum "\n\t"
#define KEEP_ROW(r, first, second, third)                                      \
    TAKE(r, 24, first) TAKE(r, 25, second)                                     \
    "vbroadcastss %c[stride] + 4 * " #r "(%[beside]), %%zmm31\n\t"             \
    SCALE(26, first) SCALE(27, second) SCALE(28, third)                        \
    "vaddps (%[c]), %%zmm" #first ", %%zmm" #first "%{%[added]%}\n\t"          \
    "vaddps 64(%[c]), %%zmm" #second ", %%zmm" #second "%{%[added]%}\n\t"      \
    "vaddps 128(%[c]), %%zmm" #third ", %%zmm" #third "%{%[both]%}\n\t"        \
    "vmovups %%zmm" #first ", (%[c])\n\t"                                      \
    "vmovups %%zmm" #second ", 64(%[c])\n\t"                                   \
    "vmovups %%zmm" #third ", 128(%[c])%{%[stored]%}\n\t"                      \
    "add %[ldc], %[c]\n\t"
    __asm__ volatile(ROWS(CLEAR_ROW)
                     ".p2align 6\n"
                     "1:\n\t"
                     "vmovups (%[b1]), %%zmm24\n\t"
                     "vmovups 64(%[b1]), %%zmm25\n\t"
                     "vmovups 128(%[b1]), %%zmm26\n\t"
                     "vmovups (%[b2]), %%zmm27\n\t"
                     "vmovups 64(%[b2]), %%zmm28\n\t"
                     "vmovups 128(%[b2]), %%zmm29\n\t"
                     "test %[next], %[next]\n\t"
                     "je 2f\n\t"
                     "prefetcht1 (%[b1],%[next])\n\t"
                     "prefetcht1 64(%[b1],%[next])\n\t"
                     "prefetcht1 128(%[b1],%[next])\n\t"
                     "prefetcht1 (%[b2],%[next])\n\t"
                     "prefetcht1 64(%[b2],%[next])\n\t"
                     "prefetcht1 128(%[b2],%[next])\n"
                     "2:\n\t"
                     ROWS(ADD_ROW)
                     "add %[step], %[a1]\n\t"
                     "add %[step], %[a2]\n\t"
                     "add $192, %[b1]\n\t"
                     "add $192, %[b2]\n\t"
                     "dec %[half]\n\t"
                     "jne 1b\n\t"
                     /* b2 has come to what is beside the chunk */
                     "vmovups (%[b2]), %%zmm24\n\t"
                     "vmovups 64(%[b2]), %%zmm25\n\t"
                     "vmovups 192(%[b2]), %%zmm26\n\t"
                     "vmovups 192 + 64(%[b2]), %%zmm27\n\t"
                     "vmovups 192 + 128(%[b2]), %%zmm28\n\t"
                     ROWS(KEEP_ROW)
                     : [a1] "+r"(a1), [a2] "+r"(a2), [b1] "+r"(b1), [b2] "+r"(b2), [half] "+r"(half), [c] "+r"(c)
                     : [beside] "r"(a.beside), [next] "r"(b.next), [ldc] "r"(ldc * sizeof *c), [row] "i"(a.row * sizeof *a1), [step] "i"(a.step * sizeof *a1), [stride] "i"(a.stride * sizeof *a1), [added] "Yk"(added),
                       [stored] "Yk"(stored), [both] "Yk"((__mmask16)(added & stored))
                     : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19",
                       "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
}

ALWAYS_INLINE void all_rows(int vectors, size_t rows, size_t half, left a, right b, float *c, size_t ldc, size_t tail, bool add) {
    right whole = b; /* whole tiles ask once; the smaller ones ask again, without which 10 to 36 rows were up to a tenth slower */
#pragma GCC unroll 4
    for (int part = TILE_ROWS; part > 0; part /= 2) {
        for (; rows >= (size_t)part; rows -= (size_t)part, a.data += (size_t)part * a.row, a.beside += part, c += (size_t)part * ldc) {
            if (part == TILE_ROWS && vectors == TILE_VECTORS) {
                whole_tile(half, a, whole, c, ldc, tail, add);
                whole.next = 0;
            } else {
                tile(part, vectors, half, a, b, c, ldc, tail, add);
            }
        }
    }
}

/* c [rows, columns] (+)= a * b, b a chunk of one panel. */
ALWAYS_INLINE void multiply_panel(size_t rows, size_t half, size_t columns, left a, right b, float *c, size_t ldc, bool add) {
    size_t vectors = divide_up(columns, LANES), tail = columns - (vectors - 1) * LANES;
    if (vectors == 3) {
        all_rows(3, rows, half, a, b, c, ldc, tail, add);
    } else if (vectors == 2) {
        all_rows(2, rows, half, a, b, c, ldc, tail, add);
    } else {
        all_rows(1, rows, half, a, b, c, ldc, tail, add);
    }
}

/* ---- whole matrices --------------------------------------------------------------------------- */

/* Rows that a chunk of so many numbers takes where it is laid out. */
static size_t laid_out_rows(size_t depth) {
    return round_up(depth, 2) + BESIDE;
}

/* Chunks one after another, each in panels. */
static size_t place_of(size_t start, size_t depth, size_t first, size_t width) {
    return start / DEPTH * laid_out_rows(DEPTH) * round_up(width, LANES) + laid_out_rows(least_of(depth - start, DEPTH)) * first;
}

void TANDEM_KERNEL(float_lay_out)(tandem_extent extent, const float *from, bool transposed, float *to) {
    size_t depth = extent.rows, width = extent.width, panels = divide_up(width, PANEL), chunks = divide_up(depth, DEPTH);
#pragma omp parallel for schedule(static) num_threads(extent.threads)
    for (size_t i = 0; i < chunks * panels; i++) {
        size_t start = i / panels * DEPTH, first = i % panels * PANEL, deep = least_of(depth - start, DEPTH), columns = least_of(width - first, PANEL);
        float *chunk = to + place_of(start, depth, first, width);
        if (transposed) {
            lay_out_transposed(from + first * depth + start, depth, deep, columns, chunk);
        } else {
            lay_out_rows(from + start * width + first, width, deep, columns, chunk);
        }
        balance_columns(chunk, deep, divide_up(deep, 2), round_up(columns, LANES));
    }
}

/* Some rows and some chunks: all panels. */
static void multiply_rows(size_t rows, const tandem_laid_out *b, tandem_columns columns, size_t start, size_t end, const float *x, float *c) {
    row_block blocks[ROW_CHUNKS];
    for (size_t k = start; k < end; k += DEPTH) {
        size_t deep = least_of(end - k, DEPTH);
        balance_rows(x + k, b->depth, rows, deep, divide_up(deep, 2), &blocks[(k - start) / DEPTH]);
    }
    for (size_t first = columns.first; first < columns.end; first += PANEL) {
        for (size_t k = start; k < end; k += DEPTH) {
            const row_block *block = &blocks[(k - start) / DEPTH];
            size_t here = place_of(k, b->depth, first, b->width), next = here;
            if (k + DEPTH < end) {
                next = place_of(k + DEPTH, b->depth, first, b->width);
            } else if (first + PANEL < columns.end) {
                next = place_of(start, b->depth, first + PANEL, b->width);
            }
            multiply_panel(rows, divide_up(least_of(end - k, DEPTH), 2), least_of(columns.end - first, PANEL), (left){block->data, block->beside, DEPTH, 1, ROW_BLOCK},
                           (right){(const float *)b->data + here, ((ptrdiff_t)next - (ptrdiff_t)here) * (ptrdiff_t)sizeof *c}, c + first, b->width, k > 0);
        }
    }
}

void TANDEM_KERNEL(float_multiply)(size_t rows, const tandem_laid_out *b, tandem_columns columns, const float *x, float *c) {
    for (size_t first = 0; first < rows; first += ROW_BLOCK) {
        for (size_t start = 0; start < b->depth; start += ROW_CHUNKS * DEPTH) {
            multiply_rows(least_of(rows - first, ROW_BLOCK), b, columns, start, least_of(b->depth, start + ROW_CHUNKS * DEPTH), x + first * b->depth, c + first * b->width);
        }
    }
}

/* Some columns of a, whose `depth` rows are `ld` apart, with all of b. They are balanced a vector at a time. */
static void multiply_columns(size_t count, size_t depth, size_t width, const float *a, size_t ld, const float *b, float *c) {
    float blocks[COLUMN_CHUNKS][COLUMN_BLOCK / LANES][(DEPTH + BESIDE) * LANES];
    for (size_t k = 0; k < depth; k += DEPTH) {
        size_t deep = least_of(depth - k, DEPTH);
        for (size_t row = 0; row < deep; row++) { /* all vectors of a row at once: its page may be far to find */
            for (size_t i = 0; i < count; i += LANES) {
                vstore(blocks[k / DEPTH][i / LANES] + row * LANES, vload_first(a + (k + row) * ld + i, count - i));
            }
        }
        for (size_t i = 0; i < count; i += LANES) {
            balance_columns(blocks[k / DEPTH][i / LANES], deep, divide_up(deep, 2), LANES);
        }
    }
    for (size_t first = 0; first < width; first += PANEL) {
        for (size_t k = 0; k < depth; k += DEPTH) {
            size_t half = divide_up(least_of(depth - k, DEPTH), 2);
            for (size_t i = 0; i < count; i += LANES) {
                const float *block = blocks[k / DEPTH][i / LANES];
                multiply_panel(least_of(count - i, LANES), half, least_of(width - first, PANEL), (left){block, block + 2 * half * LANES, 1, LANES, LANES}, (right){b + place_of(k, depth, first, width), 0},
                               c + i * width + first, width, true);
            }
        }
    }
}

void TANDEM_KERNEL(float_gradient)(tandem_extent extent, size_t depth, const float *a, const float *b, float *scratch, float *c) {
    size_t width = extent.width, rows = block_rows(extent.rows, COLUMN_BLOCK, extent.threads);
    for (size_t start = 0; start < depth; start += TANDEM_FLOAT_DEPTH) {
        size_t laid_out = least_of(depth - start, TANDEM_FLOAT_DEPTH);
        TANDEM_KERNEL(float_lay_out)((tandem_extent){laid_out, width, extent.threads}, b + start * width, false, scratch);
#pragma omp parallel for schedule(dynamic) num_threads(extent.threads)
        for (size_t first = 0; first < extent.rows; first += rows) {
            multiply_columns(least_of(extent.rows - first, rows), laid_out, width, a + start * extent.rows + first, extent.rows, scratch, c + first * width);
        }
    }
}
