/* The least that can stand behind a proxy: HTTP/1.1 GET with keep-alive, a fixed answer, one thread.

   It prints its port, answers `/` with a head of about 200 bytes and "Hello, World!",
   and `/mb` with 1 MiB. Sockets block on write: a proxy always takes what it asked for. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 4096
#define BUFFER 16384
#define MEGABYTE (1 << 20)

static char *buffers[MAX_FD];
static size_t filled[MAX_FD];

static char small_answer[512], *big_answer;
static size_t small_size, big_size;

static void make_answers(void)
{
    const char *head = "HTTP/1.1 200 OK\r\n"
                       "Server: backend\r\n"
                       "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
                       "Content-Type: text/html; charset=utf-8\r\n"
                       "X-Frame-Options: DENY\r\n"
                       "Vary: Cookie\r\n"
                       "Content-Length: %d\r\n\r\n";
    small_size = (size_t)sprintf(small_answer, head, 13);
    memcpy(small_answer + small_size, "Hello, World!", 13);
    small_size += 13;
    big_answer = malloc(MEGABYTE + 512);
    big_size = (size_t)sprintf(big_answer, head, MEGABYTE);
    memset(big_answer + big_size, 'x', MEGABYTE);
    big_size += MEGABYTE;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = write(fd, data, size);
        if (sent <= 0)
            return -1;
        data += sent;
        size -= (size_t)sent;
    }
    return 0;
}

static void forget(int fd)
{
    close(fd);
    free(buffers[fd]);
    buffers[fd] = NULL;
    filled[fd] = 0;
}

static void serve(int fd)
{
    char *buffer = buffers[fd], *end;
    ssize_t got = read(fd, buffer + filled[fd], BUFFER - 1 - filled[fd]);
    if (got <= 0) {
        forget(fd);
        return;
    }
    filled[fd] += (size_t)got;
    buffer[filled[fd]] = 0;
    while ((end = strstr(buffer, "\r\n\r\n")) != NULL) {
        int big = strncmp(buffer, "GET /mb", 7) == 0;
        if (write_all(fd, big ? big_answer : small_answer, big ? big_size : small_size) < 0) {
            forget(fd);
            return;
        }
        filled[fd] -= (size_t)(end + 4 - buffer);
        memmove(buffer, end + 4, filled[fd] + 1);
    }
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[64];

    make_answers();
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll, ready, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd != listener) {
                serve(fd);
                continue;
            }
            fd = accept(listener, NULL, NULL);
            if (fd < 0 || fd >= MAX_FD) {
                close(fd);
                continue;
            }
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            buffers[fd] = malloc(BUFFER);
            filled[fd] = 0;
            event.events = EPOLLIN;
            event.data.fd = fd;
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        }
    }
}
