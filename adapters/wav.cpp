#include "adapters/canonical.hpp"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace gw::adapters {
namespace {

namespace dom = simdjson::dom;

void append_number(std::string& to, std::uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; ++i) {
        to += static_cast<char>((value >> (8 * i)) & 0xFFU);
    }
}

std::uint32_t sample_of(double value)
{
    const double bounded = std::isnan(value) ? 0.0 : std::clamp(value, -1.0, 1.0);
    return static_cast<std::uint32_t>(std::lround(bounded * 32767.0));
}

} // namespace

std::optional<std::string> wav_of(std::string_view json)
{
    dom::parser parser;
    dom::object root;
    dom::array audio;
    std::uint64_t rate = 0;
    const simdjson::padded_string padded(json);
    if (parser.parse(padded).get_object().get(root) != simdjson::SUCCESS ||
        root.at_key("audio").get_array().get(audio) != simdjson::SUCCESS ||
        root.at_key("sampling_rate").get_uint64().get(rate) != simdjson::SUCCESS || rate == 0 ||
        rate > 1'000'000) {
        return std::nullopt;
    }

    // one list per channel, or one list alone
    std::vector<dom::array> channels;
    for (const dom::element each : audio) {
        dom::array channel;
        if (each.get_array().get(channel) != simdjson::SUCCESS) {
            channels.assign(1, audio);
            break;
        }
        channels.push_back(channel);
    }
    constexpr std::size_t most_channels = 8;
    if (channels.empty() || channels.size() > most_channels) {
        return std::nullopt;
    }
    std::vector<std::vector<std::uint32_t>> samples;
    for (const dom::array& channel : channels) {
        std::vector<std::uint32_t>& into = samples.emplace_back();
        for (const dom::element each : channel) {
            double value = 0;
            if (each.get_double().get(value) != simdjson::SUCCESS) {
                return std::nullopt;
            }
            into.push_back(sample_of(value));
        }
        if (into.size() != samples.front().size()) {
            return std::nullopt;
        }
    }

    // RIFF: the format, then the samples of all channels in turn
    const auto count = static_cast<std::uint32_t>(samples.size());
    const auto size = static_cast<std::uint32_t>(samples.front().size() * count * 2);
    std::string wav = "RIFF";
    append_number(wav, 36 + size, 4);
    wav += "WAVEfmt ";
    append_number(wav, 16, 4);
    append_number(wav, 1, 2); // whole numbers
    append_number(wav, count, 2);
    append_number(wav, static_cast<std::uint32_t>(rate), 4);
    append_number(wav, static_cast<std::uint32_t>(rate) * count * 2, 4);
    append_number(wav, count * 2, 2);
    append_number(wav, 16, 2);
    wav += "data";
    append_number(wav, size, 4);
    wav.reserve(wav.size() + size);
    for (std::size_t i = 0; i < samples.front().size(); ++i) {
        for (const auto& channel : samples) {
            append_number(wav, channel[i], 2);
        }
    }
    return wav;
}

} // namespace gw::adapters
