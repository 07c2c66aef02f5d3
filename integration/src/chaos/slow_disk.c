/* Makes writes and syncs of files slower, by as many milliseconds as the file OTTLA_SLOW_DISK names.
 * Preloaded into a broker. Files below descriptor 3 are the broker's own log and stay fast. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int delay_ms(void) {
    const char *path = getenv("OTTLA_SLOW_DISK");
    if (!path) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[16] = {0};
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    return got > 0 ? atoi(text) : 0;
}

static void wait_for_disk(int fd) {
    struct stat about;
    if (fd < 3 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return;
    int ms = delay_ms();
    if (ms <= 0) return;
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

#define SLOW(result, name, parameters, arguments)                           \
    result name parameters {                                                \
        static result (*real) parameters;                                   \
        if (!real) real = (result (*) parameters)dlsym(RTLD_NEXT, #name);    \
        wait_for_disk(fd);                                                  \
        return real arguments;                                              \
    }

SLOW(ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
SLOW(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
SLOW(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at))
SLOW(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))
SLOW(int, fsync, (int fd), (fd))
SLOW(int, fdatasync, (int fd), (fd))
