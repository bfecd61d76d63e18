/* As many equal frames as an interface takes.

       flood INTERFACE SIZE_BYTES      ends when its standard input does */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 32, ETHERTYPE = 0x88B6 /* as in ends.py */ };

int main(int count, char **words) {
    if (count < 3) return 2;
    int size = atoi(words[2]), one = 1, s = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE)};
    to.sll_ifindex = if_nametoindex(words[1]);
    if (size < 60 || size > 1514 || bind(s, (struct sockaddr *)&to, sizeof to) != 0) return 1;
    setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    char frame[1514] = {-1, -1, -1, -1, -1, -1, 2, 0, 0, 0, 0, 1, ETHERTYPE >> 8, ETHERTYPE & 255};
    struct iovec part = {frame, size};
    struct mmsghdr batch[BATCH];
    memset(batch, 0, sizeof batch);
    for (int i = 0; i < BATCH; i++) batch[i].msg_hdr.msg_iov = &part, batch[i].msg_hdr.msg_iovlen = 1;
    for (struct pollfd end = {0, POLLIN, 0}; poll(&end, 1, 0) == 0;)
        for (int i = 0; i < 16; i++) sendmmsg(s, batch, BATCH, 0); /* what is refused is dropped */
    return 0;
}
