/* machine.c - CPU, memory, threads and signals. */
#include "tandem/machine.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "tandem/log.h"
#include "tandem/openmp.h"

const char *tandem_version(void)
{
    return TANDEM_VERSION;
}

/* ---- CPU ----------------------------------------------------------------------- */
static const char *const isa_names[] = {"portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "zen4"};

static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;
static tandem_isa cpu_isa;
static char cpu_text[256];

#if defined(__x86_64__) || defined(__i386__)
#define SUPPORTS(feature)                     \
    do {                                      \
        if (__builtin_cpu_supports(feature)) { \
            append_text(" " feature);         \
        }                                     \
    } while (0)

static void append_text(const char *text)
{
    size_t length = strlen(cpu_text);
    snprintf(cpu_text + length, sizeof cpu_text - length, "%s", text);
}

/* As AMD and Intel number their CPUs; 25 with AVX-512 is Zen 4. */
static unsigned family(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    __get_cpuid(1, &a, &b, &c, &d);
    return (a >> 8 & 15) + (a >> 20 & 255);
}

/* __builtin_cpu_supports also asks whether the operating system saves the wide
 * registers. */
static void probe_features(void)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    bool vnni = avx512 && __builtin_cpu_supports("avx512vnni"), bf16 = vnni && __builtin_cpu_supports("avx512bf16");
    bool zen4 = bf16 && __builtin_cpu_is("amd") && family() == 25;
    cpu_isa = zen4     ? TANDEM_ISA_ZEN4
              : bf16   ? TANDEM_ISA_AVX512_BF16
              : vnni   ? TANDEM_ISA_AVX512_VNNI
              : avx512 ? TANDEM_ISA_AVX512
              : avx2   ? TANDEM_ISA_AVX2
                       : TANDEM_ISA_PORTABLE;
    append_text(",");
    SUPPORTS("avx2");
    SUPPORTS("fma");
    SUPPORTS("avx512f");
    SUPPORTS("avx512bw");
    SUPPORTS("avx512dq");
    SUPPORTS("avx512vl");
    SUPPORTS("avx512vnni");
    SUPPORTS("avx512bf16");
    SUPPORTS("amx-bf16");
    SUPPORTS("amx-int8");
}
#else
static void probe_features(void)
{
    cpu_isa = TANDEM_ISA_PORTABLE;
}
#endif

static void probe_name(void)
{
    snprintf(cpu_text, sizeof cpu_text, "unknown CPU");
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(cpu_text, sizeof cpu_text, "%s", colon + 1 + strspn(colon + 1, " "));
            break;
        }
    }
    if (file) {
        fclose(file);
    }
}

static void lower_isa(void)
{
    const char *wish = getenv("TANDEM_ISA");
    if (!wish || !*wish) {
        return;
    }
    for (int isa = TANDEM_ISA_PORTABLE; isa <= TANDEM_ISA_ZEN4; isa++) {
        if (strcmp(wish, isa_names[isa]) == 0) {
            cpu_isa = (tandem_isa)isa < cpu_isa ? (tandem_isa)isa : cpu_isa;
            return;
        }
    }
    tandem_log_warn("TANDEM_ISA=%s is ignored: expected portable, avx2, avx512, avx512_vnni, avx512_bf16 or zen4", wish);
}

static void probe_cpu(void)
{
    probe_name();
    probe_features();
    lower_isa();
}

tandem_isa tandem_machine_isa(void)
{
    pthread_once(&cpu_once, probe_cpu);
    return cpu_isa;
}

const char *tandem_isa_name(tandem_isa isa)
{
    return isa_names[isa];
}

bool tandem_machine_has_bf16(void)
{
    return tandem_machine_isa() >= TANDEM_ISA_AVX512_BF16;
}

const char *tandem_machine_cpu(void)
{
    pthread_once(&cpu_once, probe_cpu);
    return cpu_text;
}

/* ---- cores and threads ------------------------------------------------------------ */
static size_t wanted_threads;
static _Thread_local size_t guest_threads;

/* The first logical CPU of the core that `cpu` belongs to; `cpu` itself if unknown. */
static size_t first_sibling(size_t cpu)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list", cpu);
    FILE *file = fopen(path, "r");
    size_t first = cpu; /* the list is "0,32" or "0-1" */
    if (file && fscanf(file, "%zu", &first) != 1) {
        first = cpu;
    }
    if (file) {
        fclose(file);
    }
    return first;
}

/* CPUs that a container's quota allows (cgroup v2), rounded up; SIZE_MAX: no quota. */
static size_t cgroup_quota(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    long quota, period;
    size_t cpus = SIZE_MAX;
    if (file && fscanf(file, "%ld %ld", &quota, &period) == 2 && quota > 0 && period > 0) {
        cpus = (size_t)((quota + period - 1) / period);
    }
    if (file) {
        fclose(file);
    }
    return cpus;
}

size_t tandem_machine_cores(void)
{
    cpu_set_t allowed, cores;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return 1;
    }
    CPU_ZERO(&cores);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_SET(first_sibling(cpu) % CPU_SETSIZE, &cores);
        }
    }
    size_t count = (size_t)CPU_COUNT(&cores), quota = cgroup_quota();
    count = count < quota ? count : quota;
    return count > 0 ? count : 1;
}

void tandem_machine_set_threads(size_t threads)
{
    wanted_threads = threads > 0 ? threads : tandem_machine_cores();
    omp_set_num_threads((int)wanted_threads);
}

size_t tandem_machine_threads(void)
{
    return guest_threads > 0 ? guest_threads : wanted_threads > 0 ? wanted_threads : tandem_machine_cores();
}

size_t tandem_machine_be_guest(size_t threads)
{
    size_t before = guest_threads;
    guest_threads = threads;
    return before;
}

bool tandem_machine_is_guest(void)
{
    return guest_threads > 0;
}

/* ---- device --------------------------------------------------------------------------- */
static tandem_device device;

void tandem_machine_set_device(tandem_device to)
{
    device = to;
}

tandem_device tandem_machine_device(void)
{
    return device;
}

const char *tandem_device_name(tandem_device of)
{
    static const char *const names[] = {"cpu", "cuda", "libtorch"};

    return names[of];
}

/* ---- memory -------------------------------------------------------------------------- */
size_t tandem_machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (size_t)pages * (size_t)size : 0;
}

size_t tandem_machine_peak_rss(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024; /* Linux counts it in KiB */
}

/* ---- interrupts ------------------------------------------------------------------------ */
static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    (void)signal_number;
    if (interrupted) {
        _exit(130);
    }
    interrupted = 1;
}

void tandem_interrupt_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool tandem_interrupted(void)
{
    return interrupted != 0;
}
