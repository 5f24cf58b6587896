/* Hash kernels: FNV-1a, CRC-32, MurmurHash3's finaliser, and SHA-256 of a short message. */
#include "row.h"

static u8 message[64];

static KEEP u32 prepare(u32 length) {
  if (length > sizeof message) length = sizeof message;
  for (u32 i = 0; i < length; i++) message[i] = (u8)(i * 37 + (i >> 2));
  return length;
}

EXPORT(fnv1a) u64 fnv1a(u32 length) {
  u64 h = 0xcbf29ce484222325ull;
  length = prepare(length);
  for (u32 i = 0; i < length; i++) h = (h ^ message[i]) * 0x100000001b3ull;
  return h;
}

EXPORT(crc32) u32 crc32(u32 length) {
  u32 c = ~0u;
  length = prepare(length);
  for (u32 i = 0; i < length; i++) {
    c ^= message[i];
    for (i32 bit = 0; bit < 8; bit++) {
      if (c & 1) c = c >> 1 ^ 0xedb88320u;
      else c >>= 1;
    }
  }
  return ~c;
}

EXPORT(mix) u64 mix(u64 h) {
  h ^= h >> 33; h *= 0xff51afd7ed558ccdull;
  h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53ull;
  return h ^ h >> 33;
}

static u32 root_bits(u32 prime, i32 cube) {   /* the first 32 bits of a prime's root's fraction */
  u64 low = 0, high = 1ull << 36;
  while (low + 1 < high) {
    u64 mid = (low + high) / 2;
    unsigned __int128 power = (unsigned __int128)mid * mid;
    i32 less;
    if (cube) {
      u64 top = (u64)(power >> 32);   /* the fraction below this is too small to matter for these primes */
      less = (unsigned __int128)top * mid + (((power & 0xffffffffu) * mid) >> 32) < (unsigned __int128)prime << 64;
    } else {
      less = power <= (unsigned __int128)prime << 64;
    }
    if (less) low = mid; else high = mid;
  }
  return (u32)low;
}

EXPORT(sha256_word) u32 sha256_word(u32 length, u32 which) {
  u32 w[64], k[64], h[8], s[8];
  length = prepare(length > 55 ? 55 : length);
  for (u32 i = 0, candidate = 2; i < 64; candidate++) {
    i32 prime = 1;
    for (u32 d = 2; d * d <= candidate; d++) if (candidate % d == 0) { prime = 0; break; }
    if (!prime) continue;
    k[i] = root_bits(candidate, 1);
    if (i < 8) h[i] = s[i] = root_bits(candidate, 0);
    i++;
  }
  for (u32 i = 0; i < 16; i++) {
    w[i] = 0;
    for (u32 j = 0; j < 4; j++) {
      u32 at = 4 * i + j;
      w[i] = w[i] << 8 | (at < length ? message[at] : at == length ? 0x80 : 0);
    }
  }
  w[15] = 8 * length;
#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))
  for (u32 i = 16; i < 64; i++)
    w[i] = w[i - 16] + w[i - 7] + (ROTR(w[i - 15], 7) ^ ROTR(w[i - 15], 18) ^ w[i - 15] >> 3) +
           (ROTR(w[i - 2], 17) ^ ROTR(w[i - 2], 19) ^ w[i - 2] >> 10);
  for (u32 i = 0; i < 64; i++) {
    u32 t1 = s[7] + (ROTR(s[4], 6) ^ ROTR(s[4], 11) ^ ROTR(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    u32 t2 = (ROTR(s[0], 2) ^ ROTR(s[0], 13) ^ ROTR(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    for (u32 j = 7; j > 0; j--) s[j] = s[j - 1];
    s[4] += t1;
    s[0] = t1 + t2;
  }
  return which < 8 ? h[which] + s[which] : 0;
}
