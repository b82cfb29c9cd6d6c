#include "auth/key_table.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>

namespace gw::auth {
namespace {

std::size_t bucket_of(std::string_view digest, std::size_t buckets)
{
    std::uint64_t first = 0;
    std::memcpy(&first, digest.data(), sizeof(first));
    return static_cast<std::size_t>(first) & (buckets - 1);
}

std::uint64_t next_serial()
{
    static std::atomic<std::uint64_t> last{0};
    return ++last;
}

} // namespace

key_table::key_table(const config::settings& of) : serial_(next_serial()), open_(of.open)
{
    struct entry
    {
        std::string_view digest;
        const config::client* who;
    };
    std::vector<entry> all;
    for (const auto& client : of.clients) {
        for (const auto& digest : client.key_digests) {
            if (digest.size() == slot().digest.size()) {
                all.push_back({digest, &client});
            }
        }
    }

    // As wide as the fullest bucket: about as many buckets as keys keeps that to a handful.
    buckets_ = std::bit_ceil(std::max<std::size_t>(all.size(), 1));
    std::vector<std::size_t> used(buckets_);
    for (const auto& each : all) {
        width_ = std::max(width_, ++used[bucket_of(each.digest, buckets_)]);
    }
    slots_.resize(buckets_ * width_);
    std::ranges::fill(used, 0);
    for (const auto& each : all) {
        const std::size_t bucket = bucket_of(each.digest, buckets_);
        slot& free = slots_[bucket * width_ + used[bucket]++];
        std::ranges::copy(each.digest, free.digest.begin());
        free.who = each.who;
    }
}

const config::client* key_table::find(std::string_view digest) const
{
    const config::client* found = nullptr;
    if (digest.size() != slot().digest.size()) {
        return found;
    }
    const slot* const first = &slots_[bucket_of(digest, buckets_) * width_];
    for (const slot* each = first; each != first + width_; ++each) {
        const bool same = CRYPTO_memcmp(digest.data(), each->digest.data(), each->digest.size()) == 0;
        found = same ? each->who : found;
    }
    return found;
}

} // namespace gw::auth
