print("my random")
seed = 1
