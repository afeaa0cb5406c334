/* mix.c - the steps of an epoch over several sources. */
#include <stdlib.h>
#include <string.h>

#include "tandem/memory.h"
#include "tandem/random.h"
#include "train/sampler.h"

void tandem_mix_free(tandem_mix *mix)
{
    for (size_t s = 0; mix->epochs != NULL && s < mix->source_count; s++) {
        tandem_epoch_free(&mix->epochs[s]);
    }
    free(mix->epochs);
    free(mix->sources);
    free(mix->batches);
    *mix = (tandem_mix){0};
}

static size_t count_steps(const tandem_mix *mix, tandem_mixing mixing)
{
    size_t fewest = mix->epochs[0].batches, total = 0;

    for (size_t s = 0; s < mix->source_count; s++) {
        fewest = mix->epochs[s].batches < fewest ? mix->epochs[s].batches : fewest;
        total += mix->epochs[s].batches;
    }
    return mixing == TANDEM_MIXING_ROUND_ROBIN ? fewest * mix->source_count : total;
}

static uint32_t draw(const tandem_mix_source *sources, size_t count, tandem_random *random)
{
    double total = 0.0;
    size_t s = 0;

    for (size_t i = 0; i < count; i++) {
        total += sources[i].weight;
    }
    double at = total * tandem_random_double(random);

    while (s + 1 < count && at >= sources[s].weight) {
        at -= sources[s++].weight;
    }
    return (uint32_t)s;
}

/* Whose batch each step is. */
static void choose_sources(tandem_mix *mix, const tandem_mix_source *sources, tandem_mixing mixing, tandem_random *random)
{
    size_t step = 0;

    if (mixing == TANDEM_MIXING_PROPORTIONAL) {
        for (size_t s = 0; s < mix->source_count; s++) {
            for (size_t b = 0; b < mix->epochs[s].batches; b++) {
                mix->sources[step++] = (uint32_t)s;
            }
        }
        tandem_random_shuffle(random, mix->sources, mix->steps);
        return;
    }
    for (; step < mix->steps; step++) {
        mix->sources[step] = mixing == TANDEM_MIXING_ROUND_ROBIN ? (uint32_t)(step % mix->source_count)
                                                                 : draw(sources, mix->source_count, random);
    }
}

/* Room that grows by factors: a small source may make very many passes. */
typedef struct {
    void *order, *starts;
    size_t order_room, starts_room;
} epoch_room;

/* Puts the batches of `more` after those of `epoch`, which lies in `room`. */
static int append(tandem_epoch *epoch, epoch_room *room, const tandem_epoch *more)
{
    int rc = tandem_grow(&room->order, &room->order_room, epoch->count + more->count, sizeof *epoch->order);

    epoch->order = room->order;
    TANDEM_TRY(rc);
    rc = tandem_grow(&room->starts, &room->starts_room, epoch->batches + more->batches + 1, sizeof *epoch->starts);
    epoch->starts = room->starts;
    TANDEM_TRY(rc);
    memcpy(epoch->order + epoch->count, more->order, more->count * sizeof *more->order);
    for (size_t b = 1; b <= more->batches; b++) {
        epoch->starts[epoch->batches + b] = epoch->count + more->starts[b];
    }
    epoch->count += more->count;
    epoch->batches += more->batches;
    return TANDEM_OK;
}

/* Passes over the source until it has as many batches as the epoch takes of it. */
static int add_passes(tandem_epoch *out, const tandem_mix_source *source, size_t batches, size_t batch_size, uint64_t epoch)
{
    epoch_room room = {out->order, out->starts, out->count, out->batches + 1};

    for (uint64_t pass = 1; out->batches < batches; pass++) {
        tandem_random random = tandem_random_stream(source->seed, "passes", pass);
        tandem_epoch more = {0};

        TANDEM_TRY(tandem_epoch_plan(&more, source->examples, source->sampler, batch_size, tandem_random_next(&random),
                                     epoch));
        int rc = append(out, &room, &more);
        tandem_epoch_free(&more);
        TANDEM_TRY(rc);
    }
    return TANDEM_OK;
}

static int plan(tandem_mix *out, const tandem_mix_source *sources, tandem_mixing mixing, size_t batch_size, uint64_t seed,
                uint64_t epoch)
{
    tandem_random random = tandem_random_stream(seed, "mixing", epoch);
    size_t *taken = NULL;
    int rc = TANDEM_OK;

    for (size_t s = 0; s < out->source_count; s++) {
        TANDEM_TRY(tandem_epoch_plan(&out->epochs[s], sources[s].examples, sources[s].sampler, batch_size, sources[s].seed,
                                     epoch));
    }
    out->steps = count_steps(out, mixing);
    out->sources = tandem_alloc(out->steps, sizeof *out->sources);
    out->batches = tandem_alloc(out->steps, sizeof *out->batches);
    taken = tandem_alloc(out->source_count, sizeof *taken);
    if (out->sources == NULL || out->batches == NULL || taken == NULL) {
        free(taken);
        return TANDEM_ERROR;
    }
    choose_sources(out, sources, mixing, &random);
    for (size_t i = 0; i < out->steps; i++) {
        out->batches[i] = (uint32_t)taken[out->sources[i]]++;
    }
    for (size_t s = 0; rc == TANDEM_OK && s < out->source_count; s++) {
        rc = add_passes(&out->epochs[s], &sources[s], taken[s], batch_size, epoch);
    }
    free(taken);
    return rc;
}

int tandem_mix_plan(tandem_mix *out, const tandem_mix_source *sources, size_t count, tandem_mixing mixing,
                    size_t batch_size, uint64_t seed, uint64_t epoch)
{
    *out = (tandem_mix){.source_count = count};
    out->epochs = tandem_alloc(count, sizeof *out->epochs);
    int rc = out->epochs == NULL ? TANDEM_ERROR : plan(out, sources, mixing, batch_size, seed, epoch);
    if (rc < 0) {
        tandem_mix_free(out);
    }
    return rc;
}
